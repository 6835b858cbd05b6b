-- Correct a product's stock by a stocktake or an adjustment, and record the change in the books.
-- A call with an id that was used before changes nothing, and returns the first call's result, with
-- its verb.
-- Returns one row: changed, stock_before and stock. If the stock would fall below 0, changed is
-- FALSE, nothing changes, and the id stays unused. Returns no row if there is no such product.
CREATE OR REPLACE PROCEDURE correct_stock(
    IN p_operation_id CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin,
    IN p_slug         VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin,
    IN p_count        BIGINT,    -- what was counted; NULL: adjust by p_amount
    IN p_amount       BIGINT,    -- added to the stock; below 0: taken from it
    IN p_reason       VARCHAR(200) CHARACTER SET utf8mb4,
    IN p_recorded_by  VARCHAR(200) CHARACTER SET utf8mb4
)
    SQL SECURITY DEFINER
    MODIFIES SQL DATA
correct_stock: BEGIN
    DECLARE v_product_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL;
    DECLARE v_changed BOOLEAN;
    DECLARE v_before BIGINT;
    DECLARE v_stock BIGINT;

    DECLARE EXIT HANDLER FOR 1062
    BEGIN
        ROLLBACK;
        SELECT TRUE AS changed, stock_before, stock, verb
        FROM operation WHERE operation_id = p_operation_id;
    END;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
        ROLLBACK;
        RESIGNAL;
    END;

    SELECT product_id INTO v_product_id FROM product WHERE slug = p_slug;
    IF v_product_id IS NULL THEN
        LEAVE correct_stock;
    END IF;

    START TRANSACTION;
    -- A repeated call waits here until the first one has ended.
    INSERT INTO operation (operation_id, verb, recorded_at)
    VALUES (p_operation_id, IF(p_count IS NULL, 'adjust', 'stocktake'), UTC_TIMESTAMP(6));
    -- Adding 0 locks the stock and reads it.
    CALL change_stock(v_product_id, 0, NULL, v_changed, v_before);
    CALL change_stock(v_product_id, COALESCE(p_count - v_before, p_amount), NULL, v_changed,
                      v_stock);
    IF v_changed THEN
        INSERT INTO stock_entry (product_id, kind, amount, reason, recorded_by, recorded_at)
        VALUES (v_product_id, IF(p_count IS NULL, 'adjustment', 'stocktake'), v_stock - v_before,
                p_reason, p_recorded_by, UTC_TIMESTAMP(6));
        UPDATE operation SET stock_before = v_before, stock = v_stock
        WHERE operation_id = p_operation_id;
        COMMIT;
    ELSE
        ROLLBACK;
    END IF;

    SELECT v_changed AS changed, v_before AS stock_before, v_stock AS stock;
END
