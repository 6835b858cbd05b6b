-- Decide one checkout in one round trip and one transaction.
-- It becomes a purchase, or a production order if the stock is too low. If the Idempotency-Key was
-- used before, the first result is returned again.
-- A purchase takes from one of the product's slots, each connection from its own, so that buyers of
-- one product seldom wait for each other. If that slot has too little, it looks at all slots
-- together.
-- Returns one row with server_clock, in Unix time, and these columns for each outcome:
--   sold                   purchased, stock
--   out_of_stock           purchased, stock, order_id; for the notification: product_id, slug,
--                          factory_id
--   replayed               purchased, stock, order_id, request_hash, as they were recorded before
--   no_such_product        nothing was sold: the product is unknown, or no longer in the catalogue
--   cancelled              nothing was sold, because `cancel_checkout` came first
--   late                   nothing was sold, because the server's clock was outside the window
CREATE OR REPLACE PROCEDURE checkout(
    IN p_slug            VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin,
    IN p_product_id      CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin,  -- NULL: use p_slug
    IN p_quantity        BIGINT,
    IN p_factory_id      VARCHAR(200) CHARACTER SET utf8mb4,  -- NULL: the product's own factory
    IN p_requester       VARCHAR(200) CHARACTER SET utf8mb4,
    IN p_order_id        CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin,
    IN p_callback_token  VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin,
    IN p_publish_within  INT,  -- seconds until the relay publishes
    IN p_idempotency_key VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin,  -- NULL: none
    IN p_request_hash    BINARY(32),
    -- Unix times on the server's clock. Outside this window the checkout is rolled back, because
    -- the client may have been told that nothing was sold.
    IN p_not_before      DECIMAL(20, 6),
    IN p_not_after       DECIMAL(20, 6)
)
    SQL SECURITY DEFINER
    MODIFIES SQL DATA
checkout: BEGIN
    DECLARE v_product_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL;
    DECLARE v_slug VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin;
    DECLARE v_factory_id VARCHAR(200) CHARACTER SET utf8mb4;
    DECLARE v_price BIGINT;
    DECLARE v_slots INT;
    DECLARE v_slot INT;
    DECLARE v_stock BIGINT;
    DECLARE v_sold BOOLEAN;
    DECLARE v_order_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin;
    DECLARE v_request_hash BINARY(32) DEFAULT NULL;
    DECLARE v_clock DECIMAL(20, 6);

    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
        ROLLBACK;
        RESIGNAL;
    END;
    -- A duplicate key: the transaction that inserted the same Idempotency-Key or order id has
    -- committed by now.
    DECLARE EXIT HANDLER FOR 1062
    BEGIN
        ROLLBACK;
        IF p_idempotency_key IS NULL THEN
            SELECT 'cancelled' AS outcome, UNIX_TIMESTAMP(SYSDATE(6)) AS server_clock;
        ELSE
            SELECT 'replayed' AS outcome, purchased, stock, order_id, request_hash,
                   UNIX_TIMESTAMP(SYSDATE(6)) AS server_clock
            FROM idempotency_key WHERE idempotency_key = p_idempotency_key;
        END IF;
    END;

    IF COALESCE(p_quantity, 0) < 1 THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'quantity must be at least 1';
    END IF;

    IF p_idempotency_key IS NOT NULL THEN
        SELECT purchased, stock, order_id, request_hash
        INTO v_sold, v_stock, v_order_id, v_request_hash
        FROM idempotency_key WHERE idempotency_key = p_idempotency_key;
        IF v_request_hash IS NOT NULL THEN
            -- A repetition does not wait for the product's lock, and the product may be gone from
            -- the catalogue.
            SELECT 'replayed' AS outcome, v_sold AS purchased, v_stock AS stock,
                   v_order_id AS order_id, v_request_hash AS request_hash,
                   UNIX_TIMESTAMP(SYSDATE(6)) AS server_clock;
            LEAVE checkout;
        END IF;
    END IF;

    START TRANSACTION;
    IF p_product_id IS NULL THEN
        SELECT product_id, slug, factory_id, price, slots
        INTO v_product_id, v_slug, v_factory_id, v_price, v_slots
        FROM product WHERE slug = p_slug AND in_catalogue;
    ELSE
        SELECT product_id, slug, factory_id, price, slots
        INTO v_product_id, v_slug, v_factory_id, v_price, v_slots
        FROM product WHERE product_id = p_product_id AND in_catalogue;
    END IF;
    IF v_product_id IS NULL THEN
        ROLLBACK;
        SELECT 'no_such_product' AS outcome, UNIX_TIMESTAMP(SYSDATE(6)) AS server_clock;
        LEAVE checkout;
    END IF;

    SET v_slot = CONNECTION_ID() MOD v_slots;
    IF v_slot = 0 THEN
        -- A deployment may have changed slots, price and in_catalogue since they were read above.
        UPDATE product SET stock = LAST_INSERT_ID(stock - p_quantity)
        WHERE product_id = v_product_id AND stock >= p_quantity AND slots = v_slots
          AND price = v_price AND in_catalogue;
    ELSE
        UPDATE product_slot SET stock = stock - p_quantity
        WHERE product_id = v_product_id AND slot = v_slot AND stock >= p_quantity;
    END IF;
    SET v_sold = ROW_COUNT() = 1;
    IF v_sold AND v_slots = 1 THEN
        SET v_stock = LAST_INSERT_ID();
    ELSE
        SELECT stock + IF(slots = 1, 0, (SELECT SUM(product_slot.stock) FROM product_slot
                                         WHERE product_slot.product_id = product.product_id))
        INTO v_stock FROM product WHERE product_id = v_product_id;
        IF NOT v_sold AND v_stock >= p_quantity THEN
            -- The slots together have enough, an order has arrived, or a deployment has changed the
            -- product. All slots are locked in ascending order. This transaction may still hold the
            -- lock on one of them: two such transactions would wait for each other.
            ROLLBACK;
            START TRANSACTION;
            CALL change_stock(v_product_id, -p_quantity, NULL, v_sold, v_stock);
            -- The product may have another price by now, or be gone from the catalogue.
            SET v_price = NULL;
            SELECT price INTO v_price FROM product WHERE product_id = v_product_id AND in_catalogue;
            IF v_price IS NULL THEN
                ROLLBACK;
                SELECT 'no_such_product' AS outcome, UNIX_TIMESTAMP(SYSDATE(6)) AS server_clock;
                LEAVE checkout;
            END IF;
        END IF;
    END IF;

    IF p_idempotency_key IS NULL THEN
        INSERT INTO checkout_outcome (order_id, purchased, stock, created_at)
        VALUES (p_order_id, v_sold, v_stock, UTC_TIMESTAMP(6));
    ELSE
        INSERT INTO idempotency_key (idempotency_key, request_hash, purchased, stock, order_id,
                                     created_at)
        VALUES (p_idempotency_key, p_request_hash, v_sold, v_stock, IF(v_sold, NULL, p_order_id),
                UTC_TIMESTAMP(6));
    END IF;
    IF v_sold THEN
        INSERT INTO purchase (product_id, quantity, requester, purchased_at, unit_price)
        VALUES (v_product_id, p_quantity, p_requester, UTC_TIMESTAMP(6), v_price);
    ELSE
        INSERT INTO production_order (order_id, callback_token, product_id, factory_id, quantity,
                                      requester, requested_at, next_attempt_at)
        VALUES (p_order_id, p_callback_token, v_product_id, COALESCE(p_factory_id, v_factory_id),
                p_quantity, p_requester, UTC_TIMESTAMP(6),
                UTC_TIMESTAMP(6) + INTERVAL p_publish_within SECOND);
    END IF;
    -- Outside the window if the transaction waited for a lock, the server hung, or a clock stepped.
    SET v_clock = UNIX_TIMESTAMP(SYSDATE(6));
    IF v_clock NOT BETWEEN p_not_before AND p_not_after THEN
        ROLLBACK;
        SELECT 'late' AS outcome, v_clock AS server_clock;
        LEAVE checkout;
    END IF;
    COMMIT;

    IF v_sold THEN
        SELECT 'sold' AS outcome, TRUE AS purchased, v_stock AS stock, v_clock AS server_clock;
    ELSE
        SELECT 'out_of_stock' AS outcome, FALSE AS purchased, v_stock AS stock,
               v_clock AS server_clock, p_order_id AS order_id, v_product_id AS product_id,
               v_slug AS slug, COALESCE(p_factory_id, v_factory_id) AS factory_id;
    END IF;
END
