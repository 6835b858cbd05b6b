-- An order has arrived: the stock grows by the order's own quantity, the first time only.
-- Answers one row: added (boolean), stock.
CREATE OR REPLACE PROCEDURE restock(
    IN p_order_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin
)
    SQL SECURITY DEFINER
    MODIFIES SQL DATA
BEGIN
    DECLARE v_added BOOLEAN DEFAULT FALSE;
    DECLARE v_stock BIGINT;

    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
        ROLLBACK;
        RESIGNAL;
    END;

    START TRANSACTION;
    UPDATE production_order SET status = 'arrived', arrived_at = UTC_TIMESTAMP(6), next_attempt_at = NULL
    WHERE order_id = p_order_id AND status <> 'arrived';
    IF ROW_COUNT() = 1 THEN
        UPDATE product JOIN production_order USING (product_id)
        SET product.stock = product.stock + production_order.quantity
        WHERE production_order.order_id = p_order_id;
        SET v_added = TRUE;
    END IF;
    SELECT stock INTO v_stock FROM product JOIN production_order USING (product_id)
    WHERE production_order.order_id = p_order_id;
    COMMIT;

    SELECT v_added AS added, v_stock AS stock;
END
