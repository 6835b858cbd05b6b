-- The relay takes what is due, by lease: nobody else sees these orders until it ends. First, orders asked for often enough
-- become stuck. Answers the claimed orders.
CREATE OR REPLACE PROCEDURE claim_orders(
    IN p_claim            CHAR(36) CHARACTER SET ascii COLLATE ascii_bin,
    IN p_limit            INT,
    IN p_lease            INT,    -- seconds; doubles with each attempt in vain, to four times that at most
    IN p_max_publications INT
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
    UPDATE production_order SET status = 'stuck', next_attempt_at = NULL
    WHERE next_attempt_at <= v_now AND status = 'published' AND publications >= p_max_publications
    ORDER BY next_attempt_at LIMIT p_limit;

    UPDATE production_order
    SET claim = p_claim, next_attempt_at = v_now + INTERVAL p_lease * POW(2, LEAST(attempts, 2)) SECOND, attempts = attempts + 1
    WHERE next_attempt_at <= v_now AND NOT (status = 'published' AND publications >= p_max_publications)
    ORDER BY next_attempt_at LIMIT p_limit;
    COMMIT;

    SELECT order_id, callback_token, slug, product_id, production_order.factory_id, quantity, requester
    FROM production_order JOIN product USING (product_id)
    WHERE claim = p_claim;
END
