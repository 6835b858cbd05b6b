"""What the stories say, in each language: key → text, with the names of its values in braces."""

from collections.abc import Mapping

KOREAN = {
    "expected": "예상: {expectation}",
    "books": "장부 {slug}: 기록 {entries} - 판매 {purchases} + 입고 {arrivals} = 재고 {stock}",
    "passed": "통과 ({seconds}초)",
    "failed": "실패: {reason}",
    "all_passed": "이야기 {count}개가 모두 통과했고, 장부가 맞습니다.",
    "some_failed": "이야기 {count}개 가운데 실패: {names}",
    "rejected.busy": "지금은 할 수 없습니다: {name}이(가) 끝난 뒤에 다시 하세요.",
    "rejected.not_offered": "{environment}에서는 할 수 없습니다.",
    "rejected.unknown": "{name}(이)라는 것은 없습니다.",
    "rejected.range": "{name}은(는) {least}에서 {most} 사이여야 합니다.",
    "the_loop.title": "한 바퀴: 구매, 생산 주문, 입고, 다시 구매",
    "the_loop.expectation": (
        "재고보다 많이 사려는 손님은 실패 응답을 받지만, 공장이 그만큼 만들어 재고가 늘어납니다."
    ),
    "the_loop.counted": "재고를 {stock}개로 맞췄습니다.",
    "the_loop.sold": "도넛 하나를 팔았습니다. 남은 재고는 {stock}개입니다.",
    "the_loop.ordered": "{quantity}개는 재고가 모자라, 생산 주문 {order_id}이(가) 생겼습니다.",
    "the_loop.placed": "주문이 SNS와 SQS를 거쳐 공장에 도착했습니다.",
    "the_loop.arrived": "공장이 콜백을 보냈습니다. 재고는 {stock}개입니다.",
    "the_loop.bought": "같은 손님이 {quantity}개를 샀습니다. 남은 재고는 {stock}개입니다.",
    "last_donut.title": "마지막 도넛 하나와 손님 스무 명",
    "last_donut.expectation": (
        "스무 명이 동시에 사도 한 명만 삽니다. 나머지 열아홉 명의 몫은 공장에 주문됩니다."
    ),
    "last_donut.counted": "재고를 1개로 맞췄습니다. 공장은 아직 문을 열지 않았습니다.",
    "last_donut.looked": "스무 명이 도넛을 보고 있습니다. 이제 동시에 삽니다.",
    "last_donut.answered": "{sold}명이 샀고, {out_of_stock}명은 생산 주문을 남겼습니다.",
    "last_donut.arrived": "공장이 문을 열었고, 주문이 모두 입고되었습니다. 재고는 {stock}개입니다.",
    "factory_outage.title": "공장이 고장 나다: 데드 레터 큐와 재전송",
    "factory_outage.expectation": (
        "주문은 사라지지 않습니다. 다섯 번 실패하면 데드 레터 큐에서 기다리고,"
        " `make redrive`로 되돌리면 입고됩니다."
    ),
    "factory_outage.ordered": (
        "공장이 500만 돌려줄 때 {quantity}개를 주문했습니다: {order_id}."
        " 손님은 평소와 같은 응답을 받았습니다."
    ),
    "factory_outage.dead": (
        "consumer가 {attempts}번 시도했고, 메시지는 데드 레터 큐에 있습니다."
        " 주문 상태는 {status}입니다."
    ),
    "factory_outage.healed": "공장을 고치고, 메시지 {moved}개를 큐로 되돌렸습니다.",
    "factory_outage.arrived": "주문이 입고되었습니다. 재고는 {stock}개입니다.",
    "sns_outage.title": "SNS가 거절하다: relay가 나중에 게시한다",
    "sns_outage.expectation": (
        "손님은 아무것도 모릅니다. 주문은 데이터베이스에서 기다리고, SNS가 살아나면 relay가 게시합니다."
    ),
    "sns_outage.answered": "SNS가 거절하는데도 {seconds}초 만에 응답했습니다: {message}",
    "sns_outage.waits": "주문 {order_id}의 상태는 {status}: 아직 게시되지 않았습니다.",
    "sns_outage.healed": ("SNS가 다시 받습니다. relay는 1분마다 실행되지만, 지금 바로 실행합니다."),
    "sns_outage.arrived": "relay가 게시한 주문이 입고되었습니다. 재고는 {stock}개입니다.",
    "database_death.title": "구매 도중에 데이터베이스가 죽다: 키가 진실을 말한다",
    "database_death.expectation": (
        "손님은 5초 안에 503을 받습니다. 같은 Idempotency-Key로 다시 요청하면 정확히 한 번만 팔립니다."
    ),
    "database_death.in_the_middle": (
        "구매 요청이 재고를 줄인 뒤, 구매를 기록하기 직전에 멈춰 있습니다. 아직 커밋되지 않았습니다."
    ),
    "database_death.killed": "데이터베이스 프로세스를 죽였습니다.",
    "database_death.answered": "손님은 {seconds}초 만에 {status}을(를) 받았습니다.",
    "database_death.healed": (
        "데이터베이스가 다시 시작했습니다. 기록된 구매는 {purchases}건: 반쯤 처리된 요청은 남지 않았습니다."
    ),
    "database_death.repeated": "같은 키로 두 번 더 요청했고, 응답은 두 번 다 같습니다: {message}",
    "callbacks.title": "위조된 콜백, 그리고 두 번 온 콜백",
    "callbacks.expectation": (
        "토큰이 없거나 틀린 콜백은 403이고 재고는 그대로입니다. 진짜 콜백이 두 번 와도 한 번만 입고됩니다."
    ),
    "callbacks.placed": "주문 {order_id}이(가) 공장에 도착했습니다. 공장은 콜백을 보내지 않습니다.",
    "callbacks.forged": "위조: POST {path} → {status}",
    "callbacks.twice": (
        "진짜 콜백을 동시에 두 번 보냈습니다: {statuses}. 재고는 {stock}개, 한 번만 늘었습니다."
    ),
    "the_original.title": "원본은 어떻게 했나: 읽고, 계산하고, 쓰기",
    "the_original.expectation": (
        "원본은 재고를 읽은 뒤 프로그램에서 뺀 값을 씁니다. 동시에 팔면 판 것보다 재고가 덜 줄어듭니다."
        " 우리 가게는 정확히 판 만큼 줄어듭니다."
    ),
    "the_original.counted": "원본: 지금까지 {sold}개 판매, 재고는 {fell}개 감소, 잃어버린 도넛 {lost}개",
    "the_original.original": (
        "원본: {sold}개를 팔았는데 재고는 {fell}개만 줄었습니다. 잃어버린 도넛은 {lost}개입니다."
    ),
    "the_original.ours": (
        "우리 가게: {sold}개를 팔았고 재고는 {fell}개 줄었습니다. 잃어버린 도넛은 {lost}개입니다."
    ),
}
ENGLISH = {
    "expected": "Expected: {expectation}",
    "books": "Books of {slug}: entries {entries} - purchases {purchases} + arrivals {arrivals}"
    " = stock {stock}",
    "passed": "Passed ({seconds} s)",
    "failed": "Failed: {reason}",
    "all_passed": "All {count} stories passed, and the books balance.",
    "some_failed": "Of {count} stories, these failed: {names}",
    "rejected.busy": "Not now: try again after {name}.",
    "rejected.not_offered": "This is not possible in {environment}.",
    "rejected.unknown": "There is no {name}.",
    "rejected.range": "{name} must be from {least} to {most}.",
    "the_loop.title": "The loop: a purchase, a production order, its arrival, another purchase",
    "the_loop.expectation": (
        "A customer who wants more than the stock is told so. The factory makes as many, and the"
        " stock grows."
    ),
    "the_loop.counted": "The stock is set to {stock}.",
    "the_loop.sold": "One donut is sold. The stock is {stock}.",
    "the_loop.ordered": (
        "{quantity} are more than the stock, so there is a production order: {order_id}."
    ),
    "the_loop.placed": "The order has reached the factory, by way of SNS and SQS.",
    "the_loop.arrived": "The factory has called back. The stock is {stock}.",
    "the_loop.bought": "The same customer has bought {quantity}. The stock is {stock}.",
    "last_donut.title": "The last donut and twenty buyers",
    "last_donut.expectation": (
        "Twenty customers buy at the same time, and one of them gets it. What the other nineteen"
        " want is ordered from the factory."
    ),
    "last_donut.counted": "The stock is set to 1. The factory is not open yet.",
    "last_donut.looked": "Twenty customers look at the donut. Now they buy at the same time.",
    "last_donut.answered": "{sold} bought it, and {out_of_stock} have left a production order.",
    "last_donut.arrived": "The factory has opened, and all orders have arrived. The stock is {stock}.",
    "factory_outage.title": "The factory fails: the dead-letter queue, and redriving",
    "factory_outage.expectation": (
        "No order is lost. After five failures it waits in the dead-letter queue. `make redrive`"
        " brings it back, and it arrives."
    ),
    "factory_outage.ordered": (
        "While the factory returns nothing but 500, {quantity} were ordered: {order_id}. The"
        " customer got the usual response."
    ),
    "factory_outage.dead": (
        "The consumer has tried {attempts} times, and the message is in the dead-letter queue."
        " The order is {status}."
    ),
    "factory_outage.healed": "The factory works again, and {moved} message(s) are back in the queue.",
    "factory_outage.arrived": "The order has arrived. The stock is {stock}.",
    "sns_outage.title": "SNS rejects everything: the relay heals it",
    "sns_outage.expectation": (
        "Customers notice nothing. The order waits in the database, and the relay publishes it when"
        " SNS works again."
    ),
    "sns_outage.answered": "SNS rejects, and the shop responds in {seconds} s: {message}",
    "sns_outage.waits": "Order {order_id} is {status}: it is not published yet.",
    "sns_outage.healed": ("SNS accepts again. The relay runs each minute; here it is run at once."),
    "sns_outage.arrived": "The relay has published the order, and it has arrived. The stock is {stock}.",
    "database_death.title": (
        "The database dies in the middle of a checkout: the key tells the truth"
    ),
    "database_death.expectation": (
        "The customer gets a 503 within 5 seconds. A repetition with the same Idempotency-Key sells"
        " exactly once."
    ),
    "database_death.in_the_middle": (
        "A checkout has taken from the stock, and stands still before it records the purchase. It"
        " has not committed."
    ),
    "database_death.killed": "The database's process is killed.",
    "database_death.answered": "The customer got a {status} after {seconds} s.",
    "database_death.healed": (
        "The database runs again. {purchases} purchases are recorded: nothing is left of the half"
        " checkout."
    ),
    "database_death.repeated": (
        "The same key was sent twice more, and the response is the same both times: {message}"
    ),
    "callbacks.title": "Forged callbacks, and a callback that comes twice",
    "callbacks.expectation": (
        "A callback without the right token gets a 403, and the stock stays as it is. The true one"
        " adds to the stock once, even if it comes twice."
    ),
    "callbacks.placed": "Order {order_id} has reached the factory, which does not call back.",
    "callbacks.forged": "Forged: POST {path} → {status}",
    "callbacks.twice": (
        "The true callback was sent twice at the same time: {statuses}. The stock is {stock}: it"
        " has grown once."
    ),
    "the_original.title": "What the original did: read, calculate, write",
    "the_original.expectation": (
        "The original reads the stock and writes what the program has subtracted from it. When many"
        " buy at the same time, it sells more than its stock falls by. Ours falls by what was sold."
    ),
    "the_original.counted": (
        "The original so far: {sold} sold, its stock fell by {fell}, {lost} lost"
    ),
    "the_original.original": (
        "The original has sold {sold}, and its stock fell by {fell}. {lost} donuts are lost."
    ),
    "the_original.ours": "Ours has sold {sold}, and its stock fell by {fell}. {lost} are lost.",
}
TEXTS: Mapping[str, Mapping[str, str]] = {"ko": KOREAN, "en": ENGLISH}


def language(preferred: str) -> str:
    """Return the language of the texts. preferred: such as `en` or `en_US.UTF-8`."""
    return "en" if preferred.startswith("en") else "ko"
