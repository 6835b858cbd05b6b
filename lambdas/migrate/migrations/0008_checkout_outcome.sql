-- What became of each recent checkout without an Idempotency-Key, so that its function can ask after its connection broke.
-- The key is the checkout's order id, which the function made: no client can name it. Rows are deleted after minutes.
-- purchased and stock are NULL in a cancellation: the checkout with this id has not sold anything and never will.
CREATE TABLE IF NOT EXISTS checkout_outcome (
    order_id   CHAR(36)    CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    purchased  BOOLEAN     NULL,
    stock      BIGINT      NULL,
    created_at DATETIME(6) NOT NULL COMMENT 'UTC',
    INDEX checkout_outcome_created_at (created_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
