-- Whether the requester's name was blanked.
-- The shop sells while this statement runs: INSTANT makes it fail rather than copy rows. It needs the table for itself
-- for a moment. While it waits for that, checkouts wait behind it, so after 2 seconds it gives up, and the deployment
-- has to be repeated.
ALTER TABLE production_order WAIT 2
    ADD COLUMN IF NOT EXISTS requester_blanked BOOLEAN NOT NULL DEFAULT FALSE
        COMMENT 'TRUE: the requester''s name was replaced by the empty text',
    ALGORITHM = INSTANT
