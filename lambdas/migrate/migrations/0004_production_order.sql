-- The outbox: an order is a row here before its notification is published.
-- next_attempt_at: when the relay looks at it next; NULL: never again (arrived or stuck).
CREATE TABLE IF NOT EXISTS production_order (
    order_id        CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY COMMENT 'public',
    callback_token  VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'secret: whoever has it can restock this order, once',
    product_id      CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    factory_id      VARCHAR(200) NOT NULL COMMENT 'as the client named it',
    quantity        BIGINT       NOT NULL,
    requester       VARCHAR(200) NOT NULL,
    status          ENUM ('requested', 'published', 'arrived', 'stuck') NOT NULL DEFAULT 'requested',
    requested_at    DATETIME(6)  NOT NULL COMMENT 'UTC, as all times here',
    published_at    DATETIME(6)  NULL COMMENT 'the last time',
    arrived_at      DATETIME(6)  NULL,
    publications    INT          NOT NULL DEFAULT 0 COMMENT 'how often it was published',
    attempts        INT          NOT NULL DEFAULT 0 COMMENT 'the relay''s, since the last publication',
    next_attempt_at DATETIME(6)  NULL,
    claim           CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'of the relay run that took it last',
    CONSTRAINT production_order_quantity CHECK (quantity > 0),
    INDEX production_order_next_attempt_at (next_attempt_at),
    INDEX production_order_claim (claim),
    INDEX production_order_status (status, requested_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
