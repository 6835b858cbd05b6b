-- Lease up to p_limit due orders to one claim, so that no other claim takes them before the lease
-- ends. Only orders that have been published p_publications times are claimed.
-- p_newest FALSE takes the oldest. TRUE takes the newest of those that were not claimed since their
-- last publication: an order whose publication failed comes due again later than a new order, and
-- would otherwise count as newer.
-- An order whose product was deleted cannot be published, so it becomes stuck.
-- Returns one row per claimed order. slug and product_id are NULL if the order became stuck.
CREATE OR REPLACE PROCEDURE claim_orders(
    IN p_claim        CHAR(36) CHARACTER SET ascii COLLATE ascii_bin,
    IN p_publications INT,
    IN p_newest       BOOLEAN,
    IN p_limit        INT,
    -- Seconds. They double with each claim since the last publication, up to four times p_lease.
    IN p_lease        INT
)
    SQL SECURITY DEFINER
    MODIFIES SQL DATA
BEGIN
    DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);

    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
        ROLLBACK;
        RESIGNAL;
    END;

    START TRANSACTION;
    IF p_newest THEN
        UPDATE production_order FORCE INDEX (production_order_untried)
        SET claim = p_claim, next_attempt_at = v_now + INTERVAL p_lease SECOND, attempts = 1
        WHERE publications = p_publications AND attempts = 0 AND next_attempt_at <= v_now
          AND status IN ('requested', 'published')
        ORDER BY next_attempt_at DESC LIMIT p_limit;
    ELSE
        UPDATE production_order FORCE INDEX (production_order_due)
        SET claim = p_claim,
            next_attempt_at = v_now + INTERVAL p_lease * POW(2, LEAST(attempts, 2)) SECOND,
            attempts = attempts + 1
        WHERE publications = p_publications AND next_attempt_at <= v_now
          AND status IN ('requested', 'published')
        ORDER BY next_attempt_at LIMIT p_limit;
    END IF;
    -- Not a join: it would wait for the lock on the product's row.
    UPDATE production_order SET status = 'stuck', stuck_at = v_now, next_attempt_at = NULL
    WHERE claim = p_claim
      AND NOT EXISTS (SELECT 1 FROM product WHERE product.product_id = production_order.product_id);
    COMMIT;

    SELECT order_id, callback_token, slug, product.product_id, production_order.factory_id,
           quantity, requester
    FROM production_order LEFT JOIN product USING (product_id)
    WHERE claim = p_claim;
END
