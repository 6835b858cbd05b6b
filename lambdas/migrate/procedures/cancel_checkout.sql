-- Find out what became of a checkout without an Idempotency-Key, and make that final.
-- If the checkout has not sold or ordered anything yet, it never will: the row that this procedure
-- inserts makes the checkout's own insert fail. If the checkout is in the middle of its
-- transaction, this procedure waits for its end.
-- Returns one row. Its outcome is 'cancelled', or 'replayed', which means recorded before: the
-- checkout was decided already, and purchased, stock and order_id are its recorded result.
CREATE OR REPLACE PROCEDURE cancel_checkout(
    IN p_order_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin
)
    SQL SECURITY DEFINER
    MODIFIES SQL DATA
BEGIN
    DECLARE EXIT HANDLER FOR 1062
        SELECT IF(purchased IS NULL, 'cancelled', 'replayed') AS outcome, purchased, stock,
               IF(purchased, NULL, order_id) AS order_id
        FROM checkout_outcome WHERE order_id = p_order_id;

    INSERT INTO checkout_outcome (order_id, created_at) VALUES (p_order_id, UTC_TIMESTAMP(6));
    SELECT 'cancelled' AS outcome;
END
