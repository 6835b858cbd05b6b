-- Record the arrival of an order. The first call adds the order's quantity to the stock, and later
-- calls add nothing.
-- A call is rejected if the token is not the order's, or the slug not its product's. The hashes of
-- the tokens are compared, so that the time that this takes reveals nothing about the token.
-- Returns no row if the call is rejected. Otherwise returns one: added (whether this call was the
-- first), stock, and lead_time_seconds (from the order's request to its arrival).
CREATE OR REPLACE PROCEDURE restock(
    IN p_order_id       CHAR(36)    CHARACTER SET ascii COLLATE ascii_bin,
    IN p_slug           VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    IN p_callback_token VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin
)
    SQL SECURITY DEFINER
    MODIFIES SQL DATA
restock: BEGIN
    DECLARE v_product_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL;
    DECLARE v_quantity BIGINT;
    DECLARE v_added BOOLEAN;
    DECLARE v_stock BIGINT;

    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
        ROLLBACK;
        RESIGNAL;
    END;

    SELECT product_id, quantity INTO v_product_id, v_quantity
    FROM production_order JOIN product USING (product_id)
    WHERE order_id = p_order_id AND slug = p_slug
      AND SHA2(callback_token, 256) = SHA2(p_callback_token, 256);
    IF v_product_id IS NULL THEN
        LEAVE restock;
    END IF;

    START TRANSACTION;
    UPDATE production_order
    SET status = 'arrived', arrived_at = UTC_TIMESTAMP(6), next_attempt_at = NULL
    WHERE order_id = p_order_id AND status <> 'arrived';
    SET v_added = ROW_COUNT() = 1;
    IF v_added THEN
        CALL change_stock(v_product_id, v_quantity, NULL, v_added, v_stock);
    ELSE
        SELECT stock + IF(slots = 1, 0, (SELECT SUM(product_slot.stock) FROM product_slot
                                         WHERE product_slot.product_id = product.product_id))
        INTO v_stock FROM product WHERE product_id = v_product_id;
    END IF;
    COMMIT;

    SELECT v_added AS added, v_stock AS stock,
           TIMESTAMPDIFF(SECOND, requested_at, arrived_at) AS lead_time_seconds
    FROM production_order WHERE order_id = p_order_id;
END
