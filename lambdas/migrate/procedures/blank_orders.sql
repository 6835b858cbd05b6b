-- Blank the requester's name in up to p_limit orders that arrived longer than p_retention ago,
-- beginning with those that arrived first.
-- An order that has not arrived keeps the name, because the relay may have to publish it again.
-- Returns one row: the number of orders blanked.
CREATE OR REPLACE PROCEDURE blank_orders(
    IN p_retention INT,    -- seconds
    IN p_limit     INT
)
    SQL SECURITY DEFINER
    MODIFIES SQL DATA
BEGIN
    UPDATE production_order FORCE INDEX (production_order_named)
    SET requester = '', requester_blanked = TRUE
    WHERE requester_blanked = FALSE
      AND arrived_at < UTC_TIMESTAMP(6) - INTERVAL p_retention SECOND
    ORDER BY arrived_at LIMIT p_limit;
    SELECT ROW_COUNT() AS blanked;
END
