-- Lists production orders by status and age, then those that need attention.
SELECT status, COUNT(*) AS orders, SUM(quantity) AS quantity,
       TIMESTAMPDIFF(SECOND, MIN(requested_at), UTC_TIMESTAMP()) AS oldest_seconds
FROM production_order GROUP BY status;

SELECT order_id, status, quantity, publications, attempts, requested_at, published_at, next_attempt_at
FROM production_order WHERE status IN ('requested', 'stuck')
ORDER BY requested_at LIMIT 50;
