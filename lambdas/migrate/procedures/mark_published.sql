-- Record a publication of the order. The relay publishes the order again after p_overdue_after.
-- An order that has arrived or is stuck does not change.
CREATE OR REPLACE PROCEDURE mark_published(
    IN p_order_id      CHAR(36) CHARACTER SET ascii COLLATE ascii_bin,
    IN p_overdue_after INT    -- seconds
)
    SQL SECURITY DEFINER
    MODIFIES SQL DATA
UPDATE production_order
SET status = 'published', published_at = UTC_TIMESTAMP(6), publications = publications + 1,
    attempts = 0,
    next_attempt_at = UTC_TIMESTAMP(6) + INTERVAL p_overdue_after SECOND
WHERE order_id = p_order_id AND status IN ('requested', 'published')
