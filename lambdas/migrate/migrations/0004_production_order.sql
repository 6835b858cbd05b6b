-- The outbox: each production order is stored here before its notification is published.
--
-- An order is due once its next_attempt_at has passed. The relay then publishes it, for the first time or as a
-- reminder. An order that has arrived or is stuck is never due again, and its next_attempt_at is NULL.
--
-- The procedure `claim_orders` reads due orders in the order of an index, and stops after a few rows, however many
-- are due. Each call reads the orders with one number of publications, and uses one of two indexes:
-- production_order_due      the oldest orders, by next_attempt_at
-- production_order_untried  the newest orders with attempts = 0: not claimed since their last publication
CREATE TABLE IF NOT EXISTS production_order (
    order_id        CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY
        COMMENT 'public: it gives no power over the order',
    callback_token  VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL
        COMMENT 'secret: whoever has it can report the arrival of this order, once',
    product_id      CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    factory_id      VARCHAR(200) NOT NULL COMMENT 'as the customer wrote it, or the product''s own',
    quantity        BIGINT       NOT NULL,
    requester       VARCHAR(200) NOT NULL COMMENT 'the customer''s name: personal data',
    status          ENUM ('requested', 'published', 'arrived', 'stuck') NOT NULL DEFAULT 'requested',
    requested_at    DATETIME(6)  NOT NULL COMMENT 'UTC',
    published_at    DATETIME(6)  NULL COMMENT 'UTC, of the last publication',
    arrived_at      DATETIME(6)  NULL COMMENT 'UTC',
    publications    INT          NOT NULL DEFAULT 0 COMMENT 'how many times the order was published',
    attempts        INT          NOT NULL DEFAULT 0 COMMENT 'claims since the last publication',
    next_attempt_at DATETIME(6)  NULL COMMENT 'UTC; the relay claims the order from then on; NULL: never',
    claim           CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NULL
        COMMENT 'the last claim that leased the order',
    CONSTRAINT production_order_quantity CHECK (quantity > 0),
    INDEX production_order_claim (claim),
    INDEX production_order_status (status, requested_at),
    INDEX production_order_due (publications, next_attempt_at),
    INDEX production_order_untried (publications, attempts, next_attempt_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
    COMMENT 'outbox of production orders'
