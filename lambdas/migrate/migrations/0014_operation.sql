-- What operators' commands have changed, by the id that each command makes: a repeated command changes nothing again.
-- The procedures `correct_stock` and `remind_stuck` insert a row in the transaction of the change.
-- An operator may also adjust a stock, which is an entry of a kind of its own.
BEGIN NOT ATOMIC
CREATE TABLE IF NOT EXISTS operation (
    operation_id CHAR(36)    CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    verb         ENUM ('remind', 'stocktake', 'adjust') NOT NULL,
    stock_before BIGINT      NULL COMMENT 'as the command printed it; NULL: remind',
    stock        BIGINT      NULL COMMENT 'as the command printed it; NULL: remind',
    reminded     INT         NULL COMMENT 'number of orders; NULL: the stock was changed',
    recorded_at  DATETIME(6) NOT NULL COMMENT 'UTC'
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
    COMMENT 'changes that operators have made by commands';
ALTER TABLE stock_entry
    MODIFY COLUMN kind ENUM ('opening', 'reset', 'stocktake', 'adjustment') NOT NULL;
END
