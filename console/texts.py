"""The texts of the stories, the page and the rejections, by language and key.

The names of a text's values are in braces.
"""

from collections.abc import Mapping

KOREAN = {
    "expected": "예상: {expectation}",
    "books": "장부 {slug}: 기록 {entries} - 판매 {purchases} + 입고 {arrivals} = 재고 {stock}",
    "passed": "통과 ({seconds}초)",
    "failed": "실패: {reason}",
    "all_passed": "이야기 {count}개가 모두 통과했고, 장부가 맞습니다.",
    "some_failed": "이야기 {count}개 가운데 실패: {names}",
    "rejected.busy": "지금은 할 수 없습니다. 끝난 뒤에 다시 하세요: {name}",
    "rejected.not_offered": "{environment}에서는 할 수 없습니다.",
    "rejected.unknown": "그런 이름은 없습니다: {name}",
    "rejected.range": "값은 {least}에서 {most} 사이여야 합니다: {name}",
    "rejected.key": (
        "보내지 않았습니다: Idempotency-Key는 1자 이상 {most}자 이하의 출력 가능한 ASCII 문자여야 합니다."
    ),
    "rejected.story_elsewhere": (
        "페이지나 `make demo`에서 다른 이야기가 실행되고 있습니다. 끝난 뒤에 다시 하세요."
    ),
    "rejected.other_factory": (
        "이야기는 로컬 공장을 고장 냅니다: FACTORY_URL 없이 `make up`을 실행한 뒤에 다시 하세요."
    ),
    "the_loop.title": "한 바퀴: 구매, 생산 주문, 입고, 다시 구매",
    "the_loop.expectation": (
        "재고보다 많이 사려는 손님은 실패 응답을 받지만, 공장이 그만큼 만들어 재고가 늘어납니다."
    ),
    "the_loop.counted": "재고를 {stock}개로 맞췄습니다.",
    "the_loop.sold": "도넛 하나를 팔았습니다. 남은 재고는 {stock}개입니다.",
    "the_loop.ordered": "{quantity}개는 재고가 모자라, 생산 주문이 생겼습니다: {order_id}",
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
        "컨슈머가 {attempts}번 시도했고, 메시지는 데드 레터 큐에 있습니다."
        " 주문 상태는 {status}입니다."
    ),
    "factory_outage.healed": "공장을 고치고, 메시지 {moved}개를 큐로 되돌렸습니다.",
    "factory_outage.arrived": "주문이 입고되었습니다. 재고는 {stock}개입니다.",
    "sns_outage.title": "SNS가 거절하다: 릴레이가 나중에 게시한다",
    "sns_outage.expectation": (
        "손님은 아무것도 모릅니다. 주문은 데이터베이스에서 기다리고, SNS가 살아나면 릴레이가 게시합니다."
    ),
    "sns_outage.answered": "SNS가 거절하는데도 {seconds}초 만에 응답했습니다: {message}",
    "sns_outage.waits": "주문 {order_id}의 상태는 {status}: 아직 게시되지 않았습니다.",
    "sns_outage.healed": (
        "SNS가 다시 받습니다. 릴레이는 1분마다 실행되지만, 지금 바로 실행합니다."
    ),
    "sns_outage.arrived": "릴레이가 게시한 주문이 입고되었습니다. 재고는 {stock}개입니다.",
    "database_death.title": "구매 도중에 데이터베이스가 죽다: 키가 진실을 말한다",
    "database_death.expectation": (
        "손님은 5초 안에 503을 받습니다. 같은 Idempotency-Key로 다시 요청하면 정확히 한 번만 팔립니다."
    ),
    "database_death.in_the_middle": (
        "구매 요청이 재고를 줄인 뒤, 구매를 기록하기 직전에 멈춰 있습니다. 아직 커밋되지 않았습니다."
    ),
    "database_death.killed": "데이터베이스 프로세스를 죽였습니다.",
    "database_death.answered": "손님이 {seconds}초 만에 받은 응답: {status}",
    "database_death.healed": (
        "데이터베이스가 다시 시작했습니다. 기록된 구매는 {purchases}건: 반쯤 처리된 요청은 남지 않았습니다."
    ),
    "database_death.repeated": "같은 키로 두 번 더 요청했고, 응답은 두 번 다 같습니다: {message}",
    "callbacks.title": "위조된 콜백, 그리고 두 번 온 콜백",
    "callbacks.expectation": (
        "토큰이 없거나 틀린 콜백은 403이고 재고는 그대로입니다. 진짜 콜백이 두 번 와도 한 번만 입고됩니다."
    ),
    "callbacks.placed": "공장에 주문이 도착했지만, 공장은 콜백을 보내지 않습니다: {order_id}",
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
    "page.title": "도넛 가게 콘솔",
    "page.skip": "본문으로 건너뛰기",
    "page.languages": "언어",
    "page.views": "보기",
    "page.view.shop": "가게",
    "page.view.api": "API 문서",
    "page.controls": "할 일",
    "page.control.counter": "계산대",
    "page.control.break": "고장 내기",
    "page.control.stories": "이야기",
    "page.connection.connecting": "연결하는 중",
    "page.connection.live": "실시간",
    "page.connection.lost": "연결 끊김",
    "page.lost": (
        "콘솔과 연결이 끊겼습니다. 아래는 {time}의 모습이며, 다시 연결되면 새로 그립니다."
    ),
    "page.not_sent": "콘솔이 응답하지 않습니다.",
    "page.failed": "실패했습니다: {reason}",
    "page.part_failed": "이 페이지의 일부를 그리지 못했습니다: {part} ({reason})",
    "page.account.looks": (
        "{environment} 환경을 보고 있습니다. 여기서는 볼 수만 있고, 사거나 고장 낼 수 없습니다."
    ),
    "page.account.asks": (
        "AWS 계정의 {environment} 환경입니다. 고장 낼 수 없고, 구매는 한 번 더 묻습니다."
    ),
    "page.problem": "{source}에서 보고가 오지 않습니다: {reason}",
    "page.source.database": "데이터베이스",
    "page.source.queues": "큐",
    "page.source.factory": "공장",
    "page.source.logs": "로그",
    "page.source.alarms": "알람",
    "page.source.shop": "가게",
    "page.fires": "알람이 울립니다: {name}. {description}",
    "page.throttled": "{name} 함수가 최근 15분 동안 {count}번 거절되었습니다.",
    "page.busy.rush": "손님이 몰리는 중입니다.",
    "page.busy.story": "이야기를 실행하는 중입니다: {title}",
    "page.unknown": "보고 없음",
    "page.close": "닫기",
    "page.cancel": "취소",
    "page.confirm": "진행",
    "page.ask.title": "{environment} 환경입니다",
    "page.ask.buy": (
        "{environment} 환경의 가게에서 {quantity}개를 삽니다. 진짜 구매로 기록됩니다. 진행할까요?"
    ),
    "page.ask.rush": (
        "{environment} 환경의 가게에서 손님 {quantity}명이 하나씩 삽니다. 진짜 구매로"
        " 기록됩니다. 진행할까요?"
    ),
    "page.ask.redrive": (
        "{environment} 환경의 데드 레터 큐에 있는 생산 주문을 큐로 되돌립니다. 진행할까요?"
    ),
    "page.pipeline": "주문이 가는 길",
    "page.pipeline.hint": "점 하나가 생산 주문 하나입니다. 점은 보고가 올 때만 움직입니다.",
    "page.heal_all": "모두 고치기",
    "page.heal_all.done": "모두 고칩니다.",
    "page.redrive": "데드 레터 되돌리기",
    "page.redrive.done": (
        "메시지 {moved}개를 큐로 되돌렸습니다. 생산 주문이 아니라서 남은 메시지: {others}개"
    ),
    "page.relay": "릴레이 실행",
    "page.relay.hint": (
        "릴레이는 1분마다 실행되는 함수입니다. 게시되지 않은 주문을 게시하고, 콜백이 오지 않은"
        " 주문을 공장에 다시 부탁합니다."
    ),
    "page.relay.done": "릴레이가 실행됩니다.",
    "page.station.checkout": "구매 요청",
    "page.station.outbox": "아웃박스",
    "page.station.topic": "SNS 토픽",
    "page.station.queue": "SQS 큐",
    "page.station.consumer": "컨슈머",
    "page.station.factory": "공장",
    "page.station.callback": "콜백",
    "page.station.arrived": "재고",
    "page.station.database": "데이터베이스",
    "page.station.dead_letter": "데드 레터 큐",
    "page.station.stuck": "멈춘 주문",
    "page.place.outbox": "아웃박스",
    "page.place.topic": "게시됨",
    "page.place.queue": "큐에서 대기",
    "page.place.consumer": "전달 중",
    "page.place.factory": "생산 중",
    "page.place.callback": "콜백 중",
    "page.place.arrived": "입고됨",
    "page.place.dead_letter": "데드 레터",
    "page.place.stuck": "멈춤",
    "page.checkout.none": "아직 없음",
    "page.outbox.oldest": "가장 오래된 것 {seconds}초",
    "page.queue.in_flight": "처리 중 {count}",
    "page.queue.receive": "수신 {receives}/{most}회",
    "page.queue.retry": "{seconds}초 뒤 다시",
    "page.factory.stage": "{stage}단계",
    "page.arrived.day": "24시간 입고 {count}건",
    "page.dead_letter.hint": "다섯 번 실패한 메시지",
    "page.stuck.hint": "콜백이 끝내 오지 않음",
    "page.database.hint": "구매, 재고, 아웃박스",
    "page.broken.none": "고장 난 곳이 없습니다.",
    "page.broken.badge": "고장 {seconds}초",
    "page.broken.heals": "{seconds}초 뒤 저절로 고쳐집니다",
    "page.heal": "지금 고치기",
    "page.customers": "손님: {notice}",
    "page.dot": "주문 {id}: {quantity}개, {place}",
    "page.counter.product": "상품",
    "page.counter.price": "{price}원",
    "page.counter.stock": "재고",
    "page.counter.requester": "손님 이름",
    "page.counter.key": "멱등성 키 (Idempotency-Key)",
    "page.counter.key.hint": "비워 두면 키 없이 삽니다",
    "page.counter.new_key": "새 키",
    "page.counter.again": "같은 키로 다시",
    "page.counter.quantity": "몇 개",
    "page.counter.buy_one": "1개 사기",
    "page.counter.buy": "{quantity}개 사기",
    "page.counter.stocktake": "재고를 {quantity}개로 맞추기",
    "page.counter.stocktake.done": "재고를 {quantity}개로 맞췄습니다.",
    "page.counter.no_response": "응답 없음",
    "page.rush": "손님이 몰릴 때",
    "page.rush.buyers": "손님 수",
    "page.rush.at_once": "동시에",
    "page.rush.start": "시작",
    "page.rush.started": "손님이 들어옵니다.",
    "page.rush.done": (
        "판매 {sold}, 재고 부족 {out_of_stock}, 실패 {failed}. 잃어버린 도넛: {lost}"
    ),
    "page.rush.sold": "판매",
    "page.rush.out_of_stock": "재고 부족",
    "page.rush.failed": "실패",
    "page.rush.p50": "중앙값 (p50)",
    "page.rush.p99": "느린 1% (p99)",
    "page.rush.lost": "잃어버린 도넛",
    "page.responses": "최근 응답",
    "page.responses.none": "아직 아무도 사지 않았습니다.",
    "page.break.hint": "고장은 길어도 2분 뒤에 저절로 고쳐집니다. 이 페이지를 닫아도 그렇습니다.",
    "page.break.not_here": "AWS 환경에서는 아무것도 고장 낼 수 없습니다.",
    "page.break.send": "보내기",
    "page.break.sent": "보냈습니다. 메시지 {id}",
    "page.alarm.none": "AWS 알람: 없음. 문제가 생기지 않습니다.",
    "page.alarm": "AWS 알람: {name} {comparison} {threshold}.",
    "page.alarm.lasting": "AWS 알람: {name} {comparison} {threshold}, {minutes}분 동안.",
    "page.runbook": "런북",
    "page.runbook.of": "런북: {section}",
    "page.breakage.factory_off": "공장 끄기",
    "page.breakage.factory_off.expect": (
        "공장이 연결을 끊습니다. 메시지는 큐로 돌아가 점점 늦게 다시 시도되고, 다섯 번"
        " 실패하면 데드 레터 큐에서 기다립니다."
    ),
    "page.breakage.factory_off.notice": "아무것도 모릅니다. 입고만 늦어집니다.",
    "page.breakage.factory_slow": "공장을 느리게",
    "page.breakage.factory_slow.expect": (
        "공장이 4초 뒤에야 응답해서 컨슈머는 실패로 보고 다시 보냅니다. 공장은 같은 주문을"
        " 여러 번 만들지만, 입고는 한 번입니다."
    ),
    "page.breakage.factory_slow.notice": "아무것도 모릅니다.",
    "page.breakage.factory_fails": "공장이 500만 응답",
    "page.breakage.factory_fails.expect": (
        "공장이 모든 주문에 500을 돌려줍니다. 메시지는 다섯 번 실패한 뒤 데드 레터 큐로"
        " 갑니다. 고친 다음 되돌리면 입고됩니다."
    ),
    "page.breakage.factory_fails.notice": "아무것도 모릅니다. 입고만 늦어집니다.",
    "page.breakage.factory_silent": "공장이 콜백하지 않기",
    "page.breakage.factory_silent.expect": (
        "공장이 주문을 받고도 콜백하지 않습니다. 릴레이가 세 번까지 다시 부탁하고, 그래도 오지"
        " 않으면 멈춘 주문이 됩니다."
    ),
    "page.breakage.factory_silent.notice": "아무것도 모릅니다. 입고만 늦어집니다.",
    "page.breakage.factory_twice": "공장이 두 번 콜백",
    "page.breakage.factory_twice.expect": (
        "공장이 같은 주문을 두 번 콜백합니다. 두 번 다 200을 받지만 재고는 한 번만 늘어납니다."
    ),
    "page.breakage.factory_twice.notice": "아무것도 모릅니다.",
    "page.breakage.sns": "SNS가 거절",
    "page.breakage.sns.expect": (
        "SNS가 모든 요청을 거절합니다. 주문은 아웃박스에서 기다리고, SNS가 살아나면 릴레이가"
        " 1분 안에 게시합니다."
    ),
    "page.breakage.sns.notice": "아무것도 모릅니다.",
    "page.breakage.sqs": "SQS가 거절",
    "page.breakage.sqs.expect": (
        "SQS가 모든 API 요청을 거절하지만 메시지는 계속 전달합니다. 실패한 메시지는 더 늦게"
        " 다시 시도되고, 되돌리기는 실패합니다."
    ),
    "page.breakage.sqs.notice": "아무것도 모릅니다.",
    "page.breakage.database_killed": "데이터베이스 죽이기",
    "page.breakage.database_killed.expect": (
        "데이터베이스 프로세스를 죽입니다. 가게는 5초 안에 503을 돌려주고, 그동안에는"
        " 아무것도 팔리지 않습니다. 실패한 콜백은 릴레이가 다시 부탁합니다."
    ),
    "page.breakage.database_killed.notice": (
        "503을 받습니다. 같은 키로 다시 사면 정확히 한 번만 팔립니다."
    ),
    "page.breakage.database_read_only": "데이터베이스를 읽기 전용으로",
    "page.breakage.database_read_only.expect": (
        "페일오버 도중처럼 데이터베이스가 변경을 거절합니다. 상품은 보이지만 구매는 503입니다."
    ),
    "page.breakage.database_read_only.notice": "볼 수는 있지만, 사면 503을 받습니다.",
    "page.breakage.poison_message": "엉터리 메시지 보내기",
    "page.breakage.poison_message.expect": (
        "생산 주문이 아닌 메시지를 큐에 넣습니다. 다섯 번 실패한 뒤 데드 레터 큐로 가고, 다른"
        " 주문을 막지 않습니다. 되돌리기는 이 메시지를 남겨 둡니다."
    ),
    "page.breakage.poison_message.notice": "아무것도 모릅니다.",
    "page.breakage.forged_callback": "위조 콜백 보내기",
    "page.breakage.forged_callback.expect": (
        "토큰이 틀린 콜백을 보냅니다. 403을 받고, 재고는 그대로입니다."
    ),
    "page.breakage.forged_callback.notice": "아무것도 모릅니다.",
    "page.stories.hint": (
        "이야기는 재고를 바꾸고 부품을 고장 내며, 끝날 때 장부가 맞는지 확인합니다."
    ),
    "page.stories.none": "이 환경에서는 이야기를 실행할 수 없습니다.",
    "page.story.run": "실행",
    "page.story.never": "아직",
    "page.story.running": "실행 중",
    "page.story.passed": "통과 {seconds}초",
    "page.story.failed": "실패",
    "page.lost.original": "원본이 잃어버린 도넛",
    "page.lost.ours": "우리 가게가 잃어버린 도넛",
    "page.stock": "재고",
    "page.stock.none": "아직 재고 보고가 없습니다.",
    "page.stock.chart": (
        "재고 그래프: 지금 {stock}개, {seconds}초 동안 최소 {least}개, 최대 {most}개"
    ),
    "page.marks": "최근 3분:",
    "page.mark.purchase": "구매",
    "page.mark.out_of_stock": "재고 부족",
    "page.mark.arrival": "입고",
    "page.mark.broken": "고장",
    "page.mark.healed": "회복",
    "page.books": "언제나 맞아야 하는 장부",
    "page.check.balance": "기록 − 판매 + 입고 = 재고",
    "page.check.not_negative": "재고는 0보다 작지 않다",
    "page.check.one_order": "재고가 모자란 구매마다 생산 주문이 하나",
    "page.check.arrives_once": "주문은 한 번만 입고된다",
    "page.check.key_sold_once": "키 하나로 두 번 팔리지 않는다",
    "page.check.true": "맞음",
    "page.check.false": "어긋남",
    "page.check.unknown": "확인하지 않음",
    "page.check.violations": "어긋난 기록 {count}건",
    "page.check.at": "{time} 확인",
    "page.books.hint": "기록은 재고 실사와 조정의 합계이며, 처음 재고도 여기에 들어갑니다.",
    "page.books.line": "{slug}: {entries} − {purchases} + {arrivals} = {expected}, 재고 {stock}",
    "page.orders": "생산 주문",
    "page.orders.none": "생산 주문이 없습니다. 재고보다 많이 사면 생깁니다.",
    "page.orders.quantity": "{quantity}개",
    "page.phase.failure": "실패",
    "page.seconds": "{seconds}초",
    "page.order": "주문 {id}",
    "page.order.summary": "{slug} {quantity}개 · {place} · 데이터베이스의 상태: {status}",
    "page.order.hops": "지나온 길",
    "page.order.log": "로그",
    "page.order.show_log": "이 주문의 로그만 보기",
    "page.hop.requested": "주문됨",
    "page.hop.published": "게시됨",
    "page.hop.queued": "큐에 들어감",
    "page.hop.placed": "공장이 받음",
    "page.hop.not_placed": "공장에 전달하지 못함",
    "page.hop.stage": "생산 단계",
    "page.hop.called_back": "콜백함",
    "page.hop.arrived": "입고됨",
    "page.hop.stuck": "멈춤",
    "page.hop.checkout": "구매 요청",
    "page.hop.left_to_the_relay": "릴레이에 맡김",
    "page.hop.not_published": "게시하지 못함",
    "page.hop.received": "공장이 요청을 받음",
    "page.hop.callback_rejected": "콜백 거절",
    "page.hop.restock": "입고 처리",
    "page.field.receives": "시도",
    "page.field.reason": "이유",
    "page.field.stage": "단계",
    "page.field.quantity": "수량",
    "page.field.stock": "재고",
    "page.field.publications": "게시 횟수",
    "page.field.status": "상태",
    "page.log": "로그",
    "page.log.since": "기간",
    "page.log.since.0": "전체",
    "page.log.since.60": "최근 1분",
    "page.log.since.300": "최근 5분",
    "page.log.since.900": "최근 15분",
    "page.log.level": "수준",
    "page.log.level.all": "모든 수준",
    "page.log.level.warning": "경고 이상",
    "page.log.level.error": "오류만",
    "page.log.order": "주문 번호",
    "page.log.clear": "지우기",
    "page.log.count": "{shown}줄 / {all}줄",
    "page.log.none": "이 조건에 맞는 로그가 없습니다.",
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
    "rejected.key": (
        "This was not sent: an Idempotency-Key has 1 to {most} printable ASCII characters."
    ),
    "rejected.story_elsewhere": (
        "Another story is running, on the page or by `make demo`: try again when it has ended."
    ),
    "rejected.other_factory": (
        "The stories break the local factory: run `make up` without FACTORY_URL, and try again."
    ),
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
    "page.title": "Donut shop console",
    "page.skip": "Skip to the content",
    "page.languages": "Language",
    "page.views": "Views",
    "page.view.shop": "Shop",
    "page.view.api": "API",
    "page.controls": "Controls",
    "page.control.counter": "Counter",
    "page.control.break": "Break it",
    "page.control.stories": "Stories",
    "page.connection.connecting": "connecting",
    "page.connection.live": "live",
    "page.connection.lost": "disconnected",
    "page.lost": (
        "The connection to the console is lost. The page shows {time}, and follows again once"
        " connected."
    ),
    "page.not_sent": "The console does not respond.",
    "page.failed": "This failed: {reason}",
    "page.part_failed": "A part of this page can't be shown: {part} ({reason})",
    "page.account.looks": (
        "This is the environment {environment}. You can look, but neither buy nor break anything."
    ),
    "page.account.asks": (
        "This is the environment {environment} on AWS. Nothing can be broken, and a purchase"
        " asks first."
    ),
    "page.problem": "No report from {source}: {reason}",
    "page.source.database": "the database",
    "page.source.queues": "the queues",
    "page.source.factory": "the factory",
    "page.source.logs": "the logs",
    "page.source.alarms": "the alarms",
    "page.source.shop": "the shop",
    "page.fires": "The alarm {name} fires. {description}",
    "page.throttled": "The function {name} was throttled {count} times in the last 15 minutes.",
    "page.busy.rush": "A rush of customers is under way.",
    "page.busy.story": "A story is running: {title}",
    "page.unknown": "not reported",
    "page.close": "Close",
    "page.cancel": "Cancel",
    "page.confirm": "Go ahead",
    "page.ask.title": "This is {environment}",
    "page.ask.buy": (
        "This buys {quantity} in the shop of {environment}. It is recorded as a real"
        " purchase. Go ahead?"
    ),
    "page.ask.rush": (
        "This lets {quantity} customers buy one each in the shop of {environment}. These are"
        " recorded as real purchases. Go ahead?"
    ),
    "page.ask.redrive": (
        "This moves the production orders in the dead-letter queue of {environment} back to"
        " the queue. Go ahead?"
    ),
    "page.pipeline": "The path of an order",
    "page.pipeline.hint": (
        "Each dot is a production order. A dot moves only when a report says so."
    ),
    "page.heal_all": "Heal all",
    "page.heal_all.done": "Everything is being healed.",
    "page.redrive": "Redrive",
    "page.redrive.done": (
        "Messages moved back to the queue: {moved}. Left, because they are not production"
        " orders: {others}"
    ),
    "page.relay": "Run the relay",
    "page.relay.hint": (
        "The relay is a function that runs each minute. It publishes orders that are not"
        " published, and reminds the factory of those for which no callback has come."
    ),
    "page.relay.done": "The relay runs now.",
    "page.station.checkout": "Checkout",
    "page.station.outbox": "Outbox",
    "page.station.topic": "SNS topic",
    "page.station.queue": "SQS queue",
    "page.station.consumer": "Consumer",
    "page.station.factory": "Factory",
    "page.station.callback": "Callback",
    "page.station.arrived": "Stock",
    "page.station.database": "Database",
    "page.station.dead_letter": "Dead-letter queue",
    "page.station.stuck": "Stuck orders",
    "page.place.outbox": "in the outbox",
    "page.place.topic": "published",
    "page.place.queue": "in the queue",
    "page.place.consumer": "being placed",
    "page.place.factory": "in production",
    "page.place.callback": "calling back",
    "page.place.arrived": "arrived",
    "page.place.dead_letter": "dead letter",
    "page.place.stuck": "stuck",
    "page.checkout.none": "none yet",
    "page.outbox.oldest": "oldest: {seconds} s",
    "page.queue.in_flight": "{count} in flight",
    "page.queue.receive": "receive {receives} of {most}",
    "page.queue.retry": "retry in {seconds} s",
    "page.factory.stage": "stage {stage}",
    "page.arrived.day": "{count} arrived in a day",
    "page.dead_letter.hint": "failed five times",
    "page.stuck.hint": "never called back",
    "page.database.hint": "purchases, stock, outbox",
    "page.broken.none": "Nothing is broken.",
    "page.broken.badge": "broken, {seconds} s",
    "page.broken.heals": "heals by itself in {seconds} s",
    "page.heal": "Heal now",
    "page.customers": "Customers: {notice}",
    "page.dot": "Order {id}: {quantity}, {place}",
    "page.counter.product": "Product",
    "page.counter.price": "KRW {price}",
    "page.counter.stock": "in stock",
    "page.counter.requester": "Customer",
    "page.counter.key": "Idempotency-Key",
    "page.counter.key.hint": "empty: without a key",
    "page.counter.new_key": "New key",
    "page.counter.again": "Same key again",
    "page.counter.quantity": "Quantity",
    "page.counter.buy_one": "Buy 1",
    "page.counter.buy": "Buy {quantity}",
    "page.counter.stocktake": "Set the stock to {quantity}",
    "page.counter.stocktake.done": "The stock is set to {quantity}.",
    "page.counter.no_response": "no response",
    "page.rush": "Rush",
    "page.rush.buyers": "Customers",
    "page.rush.at_once": "At once",
    "page.rush.start": "Start",
    "page.rush.started": "The customers are coming.",
    "page.rush.done": (
        "{sold} sold, {out_of_stock} out of stock, {failed} failed. Units lost: {lost}"
    ),
    "page.rush.sold": "sold",
    "page.rush.out_of_stock": "out of stock",
    "page.rush.failed": "failed",
    "page.rush.p50": "median (p50)",
    "page.rush.p99": "slowest 1 % (p99)",
    "page.rush.lost": "units lost",
    "page.responses": "Last responses",
    "page.responses.none": "Nobody has bought anything yet.",
    "page.break.hint": (
        "Everything heals by itself after two minutes at the latest, even if this page is closed."
    ),
    "page.break.not_here": "Nothing can be broken on AWS.",
    "page.break.send": "Send",
    "page.break.sent": "Sent. Message {id}",
    "page.alarm.none": "Alarm on AWS: none, because nothing goes wrong.",
    "page.alarm": "Alarm on AWS: {name} {comparison} {threshold}.",
    "page.alarm.lasting": "Alarm on AWS: {name} {comparison} {threshold} for {minutes} min.",
    "page.runbook": "Runbook",
    "page.runbook.of": "Runbook: {section}",
    "page.breakage.factory_off": "Factory off",
    "page.breakage.factory_off.expect": (
        "The factory closes each connection. Messages return to the queue, later each time,"
        " and wait in the dead-letter queue after five failures."
    ),
    "page.breakage.factory_off.notice": "they notice nothing, except that arrivals are late.",
    "page.breakage.factory_slow": "Factory slow",
    "page.breakage.factory_slow.expect": (
        "The factory responds after 4 seconds, which the consumer counts as a failure and"
        " repeats. The factory makes the order more than once, but it arrives once."
    ),
    "page.breakage.factory_slow.notice": "they notice nothing.",
    "page.breakage.factory_fails": "Factory returns 500",
    "page.breakage.factory_fails.expect": (
        "The factory returns 500 for every order. After five failures the message is in the"
        " dead-letter queue. Heal and redrive it, and it arrives."
    ),
    "page.breakage.factory_fails.notice": "they notice nothing, except that arrivals are late.",
    "page.breakage.factory_silent": "Factory never calls back",
    "page.breakage.factory_silent.expect": (
        "The factory accepts orders and never calls back. The relay reminds it three times,"
        " and then the order is stuck."
    ),
    "page.breakage.factory_silent.notice": "they notice nothing, except that arrivals are late.",
    "page.breakage.factory_twice": "Factory calls back twice",
    "page.breakage.factory_twice.expect": (
        "The factory calls back twice for each order. Both calls get 200, and the stock grows once."
    ),
    "page.breakage.factory_twice.notice": "they notice nothing.",
    "page.breakage.sns": "SNS rejects",
    "page.breakage.sns.expect": (
        "SNS rejects every call. Orders wait in the outbox, and the relay publishes them"
        " within a minute after SNS is back."
    ),
    "page.breakage.sns.notice": "they notice nothing.",
    "page.breakage.sqs": "SQS rejects",
    "page.breakage.sqs.expect": (
        "SQS rejects every call, but still delivers messages. Failed messages can't be"
        " postponed, so they return after the queue's own timeout, and redriving fails."
    ),
    "page.breakage.sqs.notice": "they notice nothing.",
    "page.breakage.database_killed": "Kill the database",
    "page.breakage.database_killed.expect": (
        "The database's process is killed. The shop returns 503 within 5 seconds, and nothing"
        " is sold. For callbacks that fail, the relay reminds the factory."
    ),
    "page.breakage.database_killed.notice": (
        "they get 503. If they repeat it with the same key, it sells exactly once."
    ),
    "page.breakage.database_read_only": "Database read-only",
    "page.breakage.database_read_only.expect": (
        "The database rejects changes, as in a failover. Products can be read, and a checkout"
        " returns 503."
    ),
    "page.breakage.database_read_only.notice": "they can look, and get 503 when they buy.",
    "page.breakage.poison_message": "Send a poison message",
    "page.breakage.poison_message.expect": (
        "A message that is not a production order gets into the queue. After five failures it"
        " is in the dead-letter queue, and holds up no other order. A redrive leaves it"
        " there."
    ),
    "page.breakage.poison_message.notice": "they notice nothing.",
    "page.breakage.forged_callback": "Forge a callback",
    "page.breakage.forged_callback.expect": (
        "A callback with a wrong token is sent. It gets 403, and the stock stays as it is."
    ),
    "page.breakage.forged_callback.notice": "they notice nothing.",
    "page.stories.hint": (
        "A story changes the stock and breaks parts. At its end it checks that the books balance."
    ),
    "page.stories.none": "No stories can be run in this environment.",
    "page.story.run": "Run",
    "page.story.never": "not run yet",
    "page.story.running": "running",
    "page.story.passed": "passed in {seconds} s",
    "page.story.failed": "failed",
    "page.lost.original": "lost by the original",
    "page.lost.ours": "lost by ours",
    "page.stock": "Stock",
    "page.stock.none": "The stock is not reported yet.",
    "page.stock.chart": (
        "Chart of the stock: {stock} now, between {least} and {most} in {seconds} s"
    ),
    "page.marks": "Last 3 minutes:",
    "page.mark.purchase": "purchase",
    "page.mark.out_of_stock": "out of stock",
    "page.mark.arrival": "arrival",
    "page.mark.broken": "broken",
    "page.mark.healed": "healed",
    "page.books": "Books that must balance",
    "page.check.balance": "entries − purchases + arrivals = stock",
    "page.check.not_negative": "the stock is never below 0",
    "page.check.one_order": "one production order per out-of-stock checkout",
    "page.check.arrives_once": "each order arrives once",
    "page.check.key_sold_once": "no key is sold twice",
    "page.check.true": "holds",
    "page.check.false": "violated",
    "page.check.unknown": "not checked",
    "page.check.violations": "{count} violations",
    "page.check.at": "checked at {time}",
    "page.books.hint": (
        "Entries are the sum of stocktakes and adjustments, among them the opening stock."
    ),
    "page.books.line": "{slug}: {entries} − {purchases} + {arrivals} = {expected}, stock {stock}",
    "page.orders": "Production orders",
    "page.orders.none": "There are no production orders. Buy more than the stock to get one.",
    "page.orders.quantity": "×{quantity}",
    "page.phase.failure": "failure",
    "page.seconds": "{seconds} s",
    "page.order": "Order {id}",
    "page.order.summary": "{quantity} of {slug} · {place} · status in the database: {status}",
    "page.order.hops": "Its path",
    "page.order.log": "Its log lines",
    "page.order.show_log": "Show its log lines only",
    "page.hop.requested": "requested",
    "page.hop.published": "published",
    "page.hop.queued": "queued",
    "page.hop.placed": "placed",
    "page.hop.not_placed": "not placed",
    "page.hop.stage": "stage",
    "page.hop.called_back": "called back",
    "page.hop.arrived": "arrived",
    "page.hop.stuck": "stuck",
    "page.hop.checkout": "checkout",
    "page.hop.left_to_the_relay": "left to the relay",
    "page.hop.not_published": "not published",
    "page.hop.received": "received",
    "page.hop.callback_rejected": "callback rejected",
    "page.hop.restock": "restock",
    "page.field.receives": "attempt",
    "page.field.reason": "reason",
    "page.field.stage": "stage",
    "page.field.quantity": "quantity",
    "page.field.stock": "stock",
    "page.field.publications": "publications",
    "page.field.status": "status",
    "page.log": "Log",
    "page.log.since": "Time",
    "page.log.since.0": "all",
    "page.log.since.60": "last minute",
    "page.log.since.300": "last 5 minutes",
    "page.log.since.900": "last 15 minutes",
    "page.log.level": "Level",
    "page.log.level.all": "all levels",
    "page.log.level.warning": "warnings and errors",
    "page.log.level.error": "errors only",
    "page.log.order": "Order id",
    "page.log.clear": "Clear",
    "page.log.count": "{shown} of {all} lines",
    "page.log.none": "No lines match.",
}
TEXTS: Mapping[str, Mapping[str, str]] = {"ko": KOREAN, "en": ENGLISH}


def language(preferred: str) -> str:
    """Return the language of the texts. preferred: such as `en` or `en_US.UTF-8`."""
    return "en" if preferred.startswith("en") else "ko"
