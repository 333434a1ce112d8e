"""Patterns: transport, directions, places, trips, hotel, bank, post, phone."""

from .pattern import pattern

S = "person nonyou"
ONE = "person nonyou single"
ASK = "person you|third -my"
NEAR = "place near"
COUNTED = "place near place"  # with a measure word
TOWN = "region city|country"

# Getting around
pattern("go.by", "{s}{m}去{p}。", "{s:+go} {p:to} {m}.", s=S, m="topic means ground", p="place near|work")
pattern(
    "go.by_every_day",
    "{s}每天{m}去{p}。",
    "{s:+go} {p:to} {m} every day.",
    s=S,
    m="topic means ground",
    p="place work|study",
    held_out=True,
)
pattern("go.how", "{s}怎么去{p}？", "How {s:?do} get {p:to}?", s=ASK, p="place near|work")
pattern("go.way", "请问，去{p}怎么走？", "Excuse me, how do I get {p:to}?", p=NEAR)
pattern("go.went", "{s}{t}去{p}了。", "{s} went {p:to} {t}.", s=S, t="time past day", p="place near|nature")
pattern("go.will", "{s}{t}要去{p}。", "{s:+be} going {p:to} {t}.", s=S, t="time future day", p="place near|nature")
pattern("go.did_q", "{s}{t}去{p}了吗？", "Did {s} go {p:to} {t}?", s=ASK, t="time past day", p="place near|nature")
pattern("go.not_went", "{s}{t}没去{p}。", "{s} didn't go {p:to} {t}.", s=S, t="time past day", p="place near|nature|work")
pattern("go.often", "{s}{f}去{p}。", "{s} {f} {s:=go} {p:to}.", s=S, f="adverb freq", p="place near|nature -station")
pattern("go.want", "{s}想去{p}。", "{s:+want} to go {p:to}.", s=S, p="place near|nature|visit")
pattern("go.not_want", "{s}不想去{p}。", "{s:+don't} want to go {p:to}.", s=S, p="place near|nature|visit")
pattern(
    "go.together",
    "{s}和{t}一起去了{p}。",
    "{s} and {t} went {p:to} together.",
    s="person third single",
    t="person third -pron",
    p="place near|nature",
)
pattern("go.lets", "{t}我们去{p}吧。", "Let's go {p:to} {t}.", t="time future day", p="place nature|visit|eatery|shop|meet|sportplace")
pattern("go.when_ask", "{s}什么时候去{p}？", "When will {s} go {p:to}?", s=ASK, p="place near|nature|visit")
pattern(
    "go.take_child",
    "{s}{t}带孩子去{p}。",
    "{s} will take the children {p:to} {t}.",
    s="person adult|pron|title nonyou",
    t="time future day",
    p="place visit|nature|eatery",
)
pattern("go.is_at", "{s}现在在{p}。", "{s:+be} {p:at} now.", s=S, p="place -nowhere")
pattern("go.is_at_q", "{s}在{p}吗？", "{s:?be} {p:at}?", s=ASK, p="place")
pattern("go.not_at", "{s}不在{p}。", "{s:+be} not {p:at}.", s=S, p="place")
pattern("go.was_at", "{s}{t}在{p}。", "{s:+was} {p:at} {t}.", s=S, t="time past day -now", p="place")
pattern("go.from_to", "从{p}到{q}，走路要{d}。", "It takes {d} to walk from {p:the} to {q:the}.", p=NEAR, q=NEAR, d="minute")
pattern(
    "go.city_to_city",
    "从{c}到{d}，{m}要{h}。",
    "It takes {h} to get from {c} to {d} {m}.",
    c="region cn",
    d="region cn",
    m="topic means far",
    h="hour",
)
pattern("go.stop", "去{p}要在哪儿下车？", "Where should I get off for {p:the}?", p=NEAR)
pattern("go.bus_number", "去{p}可以坐{k}路公共汽车。", "You can take bus number {k:digits} {p:to}.", p=NEAR, k="num 1-99")
pattern(
    "go.every_minutes",
    "{m}每{d}一班。",
    "There is {m} every {d}.",
    d="minute",
    m="fixed 公共汽车=a_bus 地铁=a_subway_train 校车=a_school_bus",
    quota=0.2,
)
pattern("go.car_drive", "{s}开车送{t}去{p}。", "{s:+drive} {t:obj} {p:to}.", s=ONE, t="person third", p="place near|work")
pattern(
    "go.pick_up",
    "{s}{t}去{p}接{u}。",
    "{s} will go {p:to} to pick up {u:obj} {t}.",
    s=ONE,
    t="time future day",
    p="place station",
    u="person third -pron",
)
pattern("go.on_way", "{s}正在去{p}的路上。", "{s:+be} on the way {p:to}.", s=S, p="place near|nature|work")

# Directions and places
pattern("place.where", "{p}在哪儿？", "Where is {p:the}?", p="place near|homeroom|room")
pattern("place.excuse_where", "请问，{p}在哪儿？", "Excuse me, where is {p:the}?", p=NEAR, held_out=True)
pattern("place.nearby_q", "附近有{p}吗？", "Is there {p:one} nearby?", p=COUNTED)
pattern(
    "place.nearby",
    "{h}附近有{p:one}。",
    "There is {p:one} near {h}.",
    p=COUNTED,
    h="fixed 我家=my_home 他家=his_home 她家=her_home 我们家=our_home 学校=the_school 公司=the_office 酒店=the_hotel",
)
pattern(
    "place.far",
    "{p}离{q}{a}。",
    "{p:the} is {a} {q:the}.",
    p=NEAR,
    q=NEAR,
    a="fixed 很远=very_far_from 很近=very_close_to 不远=not_far_from 不太近=not_very_close_to",
)
pattern(
    "place.far_home",
    "{s}家离{q}{a}。",
    "{s:de} home is {a} {q:the}.",
    s=ONE,
    q=NEAR,
    a="fixed 很远=very_far_from 很近=very_close_to 不远=not_far_from",
)
pattern("place.how_far", "{p}离{q}多远？", "How far is {p:the} from {q:the}?", p=NEAR, q=NEAR)
pattern("place.side", "{p}在{q}{x}。", "{p:the} is {x} {q:the}.", p=NEAR, q=NEAR, x="topic out|compass")
pattern("place.side_has", "{q}{x}有{p:one}。", "There is {p:one} {x} {q:the}.", p=COUNTED, q=NEAR, x="topic out|compass")
pattern("place.side_q", "{p}在{q}{x}吗？", "Is {p:the} {x} {q:the}?", p=NEAR, q=NEAR, x="topic out|compass", held_out=True)
pattern("place.between", "{p}在{q}和{r}中间。", "{p:the} is between {q:the} and {r:the}.", p=NEAR, q=NEAR, r=NEAR)
pattern("place.turn", "到{p}往{d}拐。", "Turn {d} at {p:the}.", p=NEAR, d="fixed 左=left 右=right")
pattern("place.straight", "一直走，到{p}往{d}拐。", "Go straight and turn {d} at {p:the}.", p=NEAR, d="fixed 左=left 右=right")
pattern(
    "place.floor",
    "{p}在{k}楼。",
    "{p:the} is on the {k} floor.",
    p="place room|eatery -homeroom",
    k="fixed 一=first 二=second 三=third 四=fourth 五=fifth 六=sixth 七=seventh 八=eighth 九=ninth 十=tenth",
)
pattern("place.open", "{p}{c}开门。", "{p:the} opens at {c}.", p="place shop|eatery|visit -always_open", c="clock forenoon|morning")
pattern("place.close", "{p}{c}关门。", "{p:the} closes at {c}.", p="place shop|eatery|visit -always_open", c="clock evening")
pattern("place.day_closed", "{p}{w}不开门。", "{p:the} is closed {w}.", p="place shop|eatery|visit -always_open", w="time weekday")
pattern("place.knows", "{s}知道{p}在哪儿。", "{s:+know} where {p:the} is.", s=S, p=NEAR)
pattern("place.not_know", "{s}不知道{p}在哪儿。", "{s:+don't} know where {p:the} is.", s=S, p=NEAR)
pattern("place.know_q", "{s}知道{p}在哪儿吗？", "{s:?do} know where {p:the} is?", s=ASK, p=NEAR)
pattern("place.is_adj", "{p:this}很{a}。", "{p:this} is very {a}.", p="place place", a="adj -color @p", quota=0.5)
pattern("city.is", "{c}很{a}。", "{c} is very {a}.", c="region city", a="adj city")
pattern("city.compare", "{c}比{d}{a}。", "{c} is {a:comp} than {d}.", c="region city", d="region city", a="adj city|size")
pattern("city.not_as", "{c}没有{d}那么{a}。", "{c} is not as {a} as {d}.", c="region city", d="region city", a="adj city|size")
pattern("city.as", "{c}和{d}一样{a}。", "{c} is as {a} as {d}.", c="region city", d="region city", a="adj city", held_out=True)

# Tickets and trips
pattern(
    "trip.ticket_k",
    "我要买{k:count}张去{c}的{v}。",
    "I want to buy {k} {v} to {c}.",
    k="num 2-9",
    c="region city",
    v="fixed 机票=plane_tickets",
)
pattern("trip.train_ticket_k", "我要买{k:count}张去{c}的火车票。", "I want to buy {k} train tickets to {c}.", k="num 2-9", c="region cn")
pattern("trip.ticket_price", "去{c}的机票{p}。", "A plane ticket to {c} is {p}.", c="region cn", p="price $fare")
pattern("trip.ticket_price_far", "去{c}的机票{p}。", "A plane ticket to {c} is {p}.", c="region country", p="price $far")
pattern("trip.train_leaves", "去{c}的火车{t}开。", "The train to {c} leaves at {t}.", c="region cn", t="clock")
pattern("trip.plane_leaves", "去{c}的飞机{t}起飞。", "The plane to {c} takes off at {t}.", c="region city", t="clock")
pattern("trip.arrives", "{s}{t}到{c}。", "{s:+arrive} in {c} at {t}.", s=S, t="clock", c="region city")
pattern("trip.late", "去{c}的飞机晚点了{d}。", "The plane to {c} was delayed by {d}.", c="region city", d="hour")
pattern("trip.late_min", "去{c}的火车晚点了{d}。", "The train to {c} was delayed by {d}.", c="region cn", d="minute")
pattern("trip.been", "{s}去过{c}。", "{s:+have} been to {c}.", s=S, c="region")
pattern("trip.been_times", "{s}去过{k:count}次{c}。", "{s:+have} been to {c} {k:times}.", s=S, k="num 1-6", c="region")
pattern("trip.never", "{s}没去过{c}。", "{s:+have} never been to {c}.", s=S, c="region")
pattern("trip.been_q", "{s}去过{c}吗？", "{s:?have} ever been to {c}?", s=ASK, c="region")
pattern("trip.want", "{s}想去{c}旅行。", "{s:+want} to travel to {c}.", s=S, c=TOWN)
pattern("trip.plan", "{s}打算{t}去{c}。", "{s:+plan} to go to {c} {t}.", s=S, t="time future long", c=TOWN)
pattern("trip.went", "{s}{t}去{c}了。", "{s} went to {c} {t}.", s=S, t="time past long", c=TOWN)
pattern("trip.stayed", "{s}在{c}待了{d}。", "{s} stayed in {c} for {d}.", s=S, c=TOWN, d="day")
pattern("trip.with", "{s}想和{t}一起去{c}。", "{s:+want} to go to {c} with {t:obj}.", s=ONE, t="person third", c=TOWN)
pattern("trip.sight", "{s}想去看{x}。", "{s:+want} to go and see {x}.", s=S, x="region sight")
pattern("trip.back", "{s}{t}从{c}回来。", "{s} will come back from {c} {t}.", s=S, t="time future", c=TOWN)
pattern("trip.came_back", "{s}是{t}从{c}回来的。", "{s} came back from {c} {t}.", s=S, t="time past -verylong -now", c=TOWN)
pattern("trip.fly", "{s}{t}坐飞机去{c}。", "{s} will fly to {c} {t}.", s=S, t="time future", c=TOWN)
pattern("trip.how_long_q", "{s}在{c}待多久？", "How long will {s} stay in {c}?", s=ASK, c=TOWN)
pattern("trip.first_time", "这是{s}第一次来{c}。", "This is {s:de} first time in {c}.", s=ONE, c=TOWN)
pattern("trip.postcard", "{s}从{c}给{t}寄了一张明信片。", "{s} mailed {t:obj} a postcard from {c}.", s=ONE, c=TOWN, t="person third")

# Hotel
pattern(
    "hotel.book",
    "{s}想订一个{r}，住{k:count}个晚上。",
    "{s:+want} to book {r} for {k} nights.",
    s=S,
    r="fixed 单人间=a_single_room 双人间=a_double_room 套房=a_suite",
    k="num 2-9",
)
pattern(
    "hotel.price",
    "{r}一个晚上{p}。",
    "{r} is {p} per night.",
    p="price $room",
    r="fixed 单人间=a_single_room 双人间=a_double_room 套房=a_suite",
)
pattern("hotel.room_number", "{s}住{k:digits}号房间。", "{s:+be} staying in room {k:digits}.", s=S, k="num 101-989/3")
pattern("hotel.room_has", "房间里有{n}吗？", "Is there {n:one} in the room?", n="noun furn|elec -lend -inside", quota=0.3)
pattern("hotel.another", "请再给我{n:one}。", "Please give me another {n:single}.", n="noun bed|ask|kitchen|dish|drink")
pattern("hotel.check_out", "{s}{t}退房。", "{s} will check out {t}.", s=S, t="time future day")
pattern("hotel.broken", "{s:de}{n}坏了。", "{s:de} {n} is broken.", s=ONE, n="noun elec|veh own count fix")
pattern("hotel.repair_q", "{s}会修{n}吗？", "Can {s} repair {n:pl}?", s=ASK, n="noun fix")

# Bank, post office, telephone
pattern("bank.withdrew", "{s}从银行取了{p}。", "{s} withdrew {p} from the bank.", s=S, p="price $pay")
pattern("bank.save", "{s}每个月存{p}。", "{s:+save} {p} every month.", s=S, p="price $pay")
pattern(
    "bank.change",
    "{s}想换{k}{m}。",
    "{s:+want} to change {k} {m}.",
    s=S,
    k="num 100-900/100",
    m="fixed 美元=dollars 欧元=euros 英镑=pounds",
    quota=0.8,
)
pattern("bank.owe", "{s}欠{t}{p}。", "{s:+owe} {t:obj} {p}.", s=ONE, t="person third", p="price $small|$pay")
pattern("bank.lent", "{s}借给了{t}{p}。", "{s} lent {t:obj} {p}.", s=ONE, t="person third", p="price $small|$pay")
pattern("bank.rent", "{s:de}房租每个月{p}。", "{s:de} rent is {p} per month.", s=ONE, p="price $3")
pattern("post.mail", "{s}想寄{n:one}到{c}。", "{s:+want} to mail {n:one} to {c}.", s=S, n="noun mail", c=TOWN)
pattern(
    "post.takes",
    "从{c}寄包裹到{d}要{t}。",
    "It takes {t} to mail a package from {c} to {d}.",
    c="region city",
    d="region city",
    t="fixed 三天=three_days 四天=four_days 五天=five_days 六天=six_days 七天=seven_days 十天=ten_days",
)
pattern("phone.number", "{s:de}电话号码是{k:digits}。", "{s:de} phone number is {k:digits}.", s=ONE, k="phone", quota=0.8)
pattern("phone.called", "{s}{d}给{t}打电话了。", "{s} called {t:obj} {d}.", s=ONE, d="time past day", t="person third")
pattern("phone.will_call", "{s}{d}会给{t}打电话。", "{s} will call {t:obj} {d}.", s=ONE, d="time future day", t="person third")
pattern(
    "phone.not_called", "{s}{d}没给{t}打电话。", "{s} didn't call {t:obj} {d}.", s=ONE, d="time past day", t="person third", held_out=True
)
pattern("phone.may_speak", "喂，请问{s}在吗？", "Hello, may I speak to {s}?", s="person name|title")
pattern(
    "phone.not_in",
    "{s}现在不在{p}，请{t}再打。",
    "{s:+be} not {p:at} now, so please call again {t}.",
    s="person title|name",
    p="place phone",
    t="time future day",
)
pattern("phone.sent", "{s}给{t}发了{n:one}。", "{s} sent {t:obj} {n:one}.", s=ONE, t="person third", n="noun sendable")
pattern("phone.message", "{s}给{t}留言了。", "{s} left {t:obj} a message.", s=ONE, t="person third")
