-- The outcome of each recent checkout without an Idempotency-Key.
-- A function whose connection broke reads it through the procedure `cancel_checkout`.
-- The primary key is the checkout's order id. The function generates it, so no client can name another's checkout.
-- The relay deletes rows after some minutes.
CREATE TABLE IF NOT EXISTS checkout_outcome (
    order_id   CHAR(36)    CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    purchased  BOOLEAN     NULL COMMENT 'NULL: cancelled, so the checkout has not sold anything and never will',
    stock      BIGINT      NULL COMMENT 'as the response said; NULL: cancelled',
    created_at DATETIME(6) NOT NULL COMMENT 'UTC',
    INDEX checkout_outcome_created_at (created_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
    COMMENT 'outcome of each recent checkout without an Idempotency-Key'
