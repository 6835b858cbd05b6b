-- When an order became stuck, and which operation reminded of it: both for the last time, for those who trace an order.
-- As in 0015, the statement fails rather than copy rows, and gives up after 2 seconds.
ALTER TABLE production_order WAIT 2
    ADD COLUMN IF NOT EXISTS stuck_at DATETIME(6) NULL
        COMMENT 'UTC, of the last time; NULL: never, or before this column existed',
    ADD COLUMN IF NOT EXISTS reminded_by CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL
        COMMENT 'operation_id of the last operation that reminded of it',
    ALGORITHM = INSTANT
