-- Set a product's stock to what was counted, and record the difference in the books.
-- Returns one row: stock_before and stock. Returns no row if there is no such product.
CREATE OR REPLACE PROCEDURE stocktake(
    IN p_slug        VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin,
    IN p_count       BIGINT,
    IN p_reason      VARCHAR(200) CHARACTER SET utf8mb4,
    IN p_recorded_by VARCHAR(200) CHARACTER SET utf8mb4
)
    SQL SECURITY DEFINER
    MODIFIES SQL DATA
stocktake: BEGIN
    DECLARE v_product_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL;
    DECLARE v_changed BOOLEAN;
    DECLARE v_before BIGINT;
    DECLARE v_stock BIGINT;

    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
        ROLLBACK;
        RESIGNAL;
    END;

    IF COALESCE(p_count, -1) < 0 THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'count must be at least 0';
    END IF;
    SELECT product_id INTO v_product_id FROM product WHERE slug = p_slug;
    IF v_product_id IS NULL THEN
        LEAVE stocktake;
    END IF;

    START TRANSACTION;
    CALL change_stock(v_product_id, 0, NULL, v_changed, v_before);    -- locks the stock, so that it can be compared
    CALL change_stock(v_product_id, p_count - v_before, NULL, v_changed, v_stock);
    INSERT INTO stock_entry (product_id, kind, amount, reason, recorded_by, recorded_at)
    VALUES (v_product_id, 'stocktake', v_stock - v_before, p_reason, p_recorded_by, UTC_TIMESTAMP(6));
    COMMIT;

    SELECT v_before AS stock_before, v_stock AS stock;
END
