-- Mark up to p_limit due orders as stuck: those published p_max_publications times or more.
-- Each number of publications gets an UPDATE of its own, because only then does the index separate
-- the due orders from those that are never due again, which are most of the table.
-- Returns one row: the number of orders marked.
CREATE OR REPLACE PROCEDURE mark_stuck(
    IN p_max_publications INT,
    IN p_limit            INT
)
    SQL SECURITY DEFINER
    MODIFIES SQL DATA
BEGIN
    DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
    DECLARE v_left INT DEFAULT p_limit;
    DECLARE v_publications INT;

    SELECT MIN(publications) INTO v_publications
    FROM production_order FORCE INDEX (production_order_due)
    WHERE publications >= p_max_publications;
    WHILE v_publications IS NOT NULL AND v_left > 0 DO
        UPDATE production_order FORCE INDEX (production_order_due)
        SET status = 'stuck', stuck_at = v_now, next_attempt_at = NULL
        WHERE publications = v_publications AND next_attempt_at <= v_now
          AND status IN ('requested', 'published')
        ORDER BY next_attempt_at LIMIT v_left;
        SET v_left = v_left - ROW_COUNT();
        SELECT MIN(publications) INTO v_publications
        FROM production_order FORCE INDEX (production_order_due)
        WHERE publications > v_publications;
    END WHILE;
    SELECT p_limit - v_left AS marked;
END
