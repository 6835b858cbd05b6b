-- Mark due orders as stuck if their product was deleted.
-- Looks at up to p_limit orders: those that `claim_orders` would take with the same p_publications
-- and p_newest.
-- Returns one row: the number of orders marked.
CREATE OR REPLACE PROCEDURE mark_orphans(
    IN p_publications INT,
    IN p_newest       BOOLEAN,
    IN p_limit        INT
)
    SQL SECURITY DEFINER
    MODIFIES SQL DATA
BEGIN
    DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
    DECLARE v_marked INT DEFAULT 0;

    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
        ROLLBACK;
        RESIGNAL;
    END;

    START TRANSACTION;
    -- Not a single UPDATE: with IN (…) it would read the whole table, and with a join it would
    -- wait for locks on products.
    FOR orphan IN (
        SELECT order_id FROM (
            (SELECT order_id, product_id
             FROM production_order FORCE INDEX (production_order_due)
             WHERE NOT p_newest AND publications = p_publications AND next_attempt_at <= v_now
             ORDER BY next_attempt_at LIMIT p_limit)
            UNION ALL
            (SELECT order_id, product_id
             FROM production_order FORCE INDEX (production_order_untried)
             WHERE p_newest AND publications = p_publications AND attempts = 0
               AND next_attempt_at <= v_now
             ORDER BY next_attempt_at DESC LIMIT p_limit)
        ) AS due
        WHERE NOT EXISTS (SELECT 1 FROM product WHERE product.product_id = due.product_id)
    ) DO
        UPDATE production_order SET status = 'stuck', stuck_at = v_now, next_attempt_at = NULL
        WHERE order_id = orphan.order_id AND next_attempt_at <= v_now
          AND status IN ('requested', 'published');
        SET v_marked = v_marked + ROW_COUNT();
    END FOR;
    COMMIT;
    SELECT v_marked AS marked;
END
