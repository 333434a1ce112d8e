"""Patterns: dates, clock, weather, habits, past and future, duration, aspect (了, 过, 正在)."""

from .pattern import pattern

S = "person nonyou"
ONE = "person nonyou single"
ASK = "person you|third -my"
DOES = "act free|daily|chore|plan -late"  # ordinary activities
PLAN = "act plan"
SKY = "topic sky"

# Dates and clock
pattern("date.today", "今天是{d}。", "Today is {d}.", d="date")
pattern("date.weekday", "今天是{d}，{w}。", "Today is {w}, {d}.", d="date", w="weekday")
pattern("date.of_event", "{n}的日期是{d}。", "The date of the {n} is {d}.", n="noun event", d="date")
pattern("date.birthday", "{s:de}生日是{d}。", "{s:de} birthday is on {d}.", s=ONE, d="date")
pattern("date.leaves", "{s}{d}去{c}。", "{s:+be} going to {c} on {d}.", s=S, d="date", c="region city|country")
pattern("date.festival_days", "还有{k:count}天就是{f}了。", "{f} is in {k} days.", k="num 2-30", f="topic festival")
pattern("date.favorite_festival", "{s}最喜欢的节日是{f}。", "{s:de} favorite festival is {f}.", s=ONE, f="topic festival")
pattern("date.season_favorite", "{s}最喜欢{t}。", "{s:+like} {t} best.", s=S, t="time season", quota=0.7)
pattern("clock.now", "现在是{c}。", "It is {c} now.", c="clock", quota=0.9)
pattern("clock.event", "{n}{c}开始。", "The {n} starts at {c}.", n="noun event", c="clock -morning")
pattern("clock.event_end", "{n}{c}结束。", "The {n} ends at {c}.", n="noun event", c="clock")
pattern("clock.morning", "{s}每天{c}{v}。", "{s} {v:gpres,s} at {c} every day.", s=S, c="clock morning", v="act early|getup")
pattern(
    "clock.evening", "{s}明天{c}{v}。", "{s} will {v:base,s} at {c} tomorrow.", s=S, c="clock afternoon|evening", v="act plan free|chore"
)
pattern("clock.get_up", "{s}{t}{c}起床。", "{s:+get} up at {c} {t}.", s=S, t="time weekday", c="clock morning")
pattern("clock.meet", "我们{c}在{p}见面吧。", "Let's meet {p:at} at {c}.", c="clock -morning", p="place meet")
pattern("clock.wait", "{s}会在{p}等{t}。", "{s} will wait for {t:obj} {p:at}.", s=ONE, p="place meet", t="person third")

# Weather
pattern(
    "weather.season",
    "{c}{x}。",
    "It is very {x} in {c}.",
    c="region cn -warm",
    x="fixed 夏天很热=hot_in_summer 冬天很冷=cold_in_winter 秋天很凉快=cool_in_autumn 春天很暖和=warm_in_spring",
)
pattern("weather.today", "{c}今天很{a}。", "It is very {a} in {c} today.", c="region city", a="adj weather")
pattern("weather.today_q", "{c}今天{a}吗？", "Is it {a} in {c} today?", c="region city", a="adj weather")
pattern("weather.yesterday", "{c}{t}很{a}。", "It was very {a} in {c} {t}.", c="region city", t="time past weather", a="adj weather")
pattern("weather.sky", "{c}{t}是{x}。", "It will be {x} in {c} {t}.", c="region city", t="time future weather", x=SKY)
pattern("weather.sky_past", "{c}{t}是{x}。", "It was {x} in {c} {t}.", c="region city", t="time past weather", x=SKY)
pattern("weather.fall", "{c}{t}会{v}。", "It will {v} in {c} {t}.", c="region city", t="time future weather", v="act weather")
pattern("weather.fell", "{c}{t}{v}了。", "It {v:past} in {c} {t}.", c="region city", t="time past weather", v="act weather")
pattern("weather.will_fall_q", "{c}{t}会{v}吗？", "Will it {v} in {c} {t}?", c="region city", t="time future weather", v="act weather")
pattern(
    "weather.no_fall",
    "{c}{t}不会{v}。",
    "It won't {v} in {c} {t}.",
    c="region city",
    t="time future weather",
    v="act weather",
    held_out=True,
)
pattern("weather.falling", "{c}正在{v}。", "It is {v:ing} in {c}.", c="region city", v="act weather")
pattern("weather.degrees", "{c}今天{k:count}度。", "It is {k} degrees in {c} today.", c="region city -warm", k="num 5-35")
pattern("weather.high", "{t}最高气温{k}度。", "The high will be {k} degrees {t}.", t="time future weather -part", k="num 3-38")
pattern(
    "weather.than_today",
    "{c}{t}比今天{a}。",
    "It will be {a:comp} in {c} {t} than today.",
    c="region city",
    t="time future weather -tonight",
    a="adj weather",
)
pattern("weather.city_than", "{c}比{d}{a}。", "It is {a:comp} in {c} than in {d}.", c="region city", d="region city", a="adj weather")
pattern(
    "weather.umbrella",
    "{t}会{v}，别忘了带{n}。",
    "It will {v} {t}, so don't forget {n}.",
    t="time future weather",
    v="act weather",
    n="fixed 雨伞=your_umbrella 手套=your_gloves 帽子=your_hat 外套=your_coat 围巾=your_scarf",
)

# Now
pattern("now.doing", "{s}正在{v}。", "{s:+be} {v:ing,s}.", s=S, v="act prog")
pattern("now.doing_q", "{s}正在{v}吗？", "{s:?be} {v:ing,s}?", s=ASK, v="act prog")
pattern("now.doing_not", "{s}没有在{v}。", "{s:+be} not {v:ing,s}.", s=S, v="act prog")
pattern("now.at_place", "{s}正在{p}{v}。", "{s:+be} {v:ing,s} {p:at}.", s=S, v="act prog somewhere", p="place @v")
pattern("now.what_doing", "{s}在做什么？", "What {s:?be} doing?", s=ASK)
pattern(
    "now.two_people",
    "{s}正在{v}，{t}正在{w}。",
    "{s:+be} {v:ing,s}, and {t:+be} {w:ing,t}.",
    s="person third single",
    v="act prog",
    t="person third -pron",
    w="act prog",
)
pattern("now.with", "{s}正在和{t}一起{v}。", "{s:+be} {v:ing,s} with {t:obj}.", s=ONE, t="person third", v="act prog free obj -bad")
pattern(
    "now.when_home",
    "{s}到家的时候，{t}正在{v}。",
    "When {s} got home, {t:+was} {v:ing,t}.",
    s="person pron -plural nonyou",
    t="person third -pron",
    v="act prog home",
)

# Past
pattern("past.did", "{s}{t}{v}了。", "{s} {v:past,s} {t}.", s=S, t="time past day", v=DOES, quota=1.3)
pattern("past.did_q", "{s}{t}{v}了吗？", "Did {s} {v:base,s} {t}?", s=ASK, t="time past day", v=DOES)
pattern("past.did_not", "{s}{t}没{v}。", "{s} didn't {v:base,s} {t}.", s=S, t="time past day", v=DOES, quota=1.2)
pattern(
    "past.place",
    "{s}{t}在{p}{v}了。",
    "{s} {v:past,s} {p:at} {t}.",
    s=S,
    t="time past day",
    v="act free|chore|plan somewhere",
    p="place @v",
)
pattern(
    "past.with",
    "{s}{t}和{u}一起{v}了。",
    "{s} {v:past,s} with {u:obj} {t}.",
    s=ONE,
    t="time past day",
    u="person third -pron",
    v="act free plan",
)
pattern("past.duration", "{s}{v:dur,d}。", "{s} {v:past,s} for {d}.", s=S, v="act dur", d="hour")
pattern("past.duration_time", "{s}{t}{v:dur,d}。", "{s} {v:past,s} for {d} {t}.", s=S, t="time past day -now", v="act dur", d="hour")
pattern("past.minutes", "{s}{v:dur,d}。", "{s} {v:past,s} for {d}.", s=S, v="act dur", d="minute")
pattern("past.who", "{t}谁{v}了？", "Who {v:past} {t}?", t="time past day", v="act chore ask")
pattern("past.already", "{s}已经{v}了。", "{s:+have} already {v:pp,s}.", s=S, v="act chore|early")
pattern("past.not_yet", "{s}还没{v}。", "{s:+have} not {v:pp,s} yet.", s=S, v="act chore|early")
pattern("past.yet_q", "{s}{v}了吗？", "{s:?have} {v:pp,s} yet?", s=ASK, v="act chore|early")
pattern("past.ago", "{s}{t}开始学{x}。", "{s} started studying {x} {t}.", s=S, t="time ago|long past", x="topic language|subject")
pattern("past.last_saw", "{s}{d}看见{t}了。", "{s} saw {t:obj} {d}.", s=ONE, d="time past day", t="person third")
pattern(
    "past.first_then",
    "{s}先{v}，然后{w}了。",
    "{s} first {v:past,s} and then {w:past,s}.",
    s=S,
    v="act chore home -plan",
    w="act free home",
)
pattern("past.zoo", "{s}在动物园看到了{n:n,k}。", "{s} saw {n:n,k} at the zoo.", s=S, n="noun zoo", k="num 1-9")
pattern("past.farm", "{s}在农场看到了{n:n,k}。", "{s} saw {n:n,k} on the farm.", s=S, n="noun farm", k="num 2-20")

# Experience
pattern("exp.have", "{s}{v:guo}。", "{s:+have} {v:pp,s} before.", s=S, v="act exp")
pattern("exp.never", "{s}没{v:guo}。", "{s:+have} never {v:pp,s}.", s=S, v="act exp")
pattern("exp.ask", "{s}{v:guo}吗？", "{s:?have} ever {v:pp,s}?", s=ASK, v="act exp")
pattern("exp.read", "{s}看过{n:this}。", "{s:+have} read {n:this}.", s=S, n="noun read")
pattern("exp.read_q", "{s}看过{n:this}吗？", "{s:?have} read {n:this}?", s=ASK, n="noun read")

# Habit
pattern("habit.every_day", "{s}每天{v}。", "{s} {v:gpres,s} every day.", s=S, v="act daily")
pattern("habit.every_day_q", "{s}每天{v}吗？", "{s:?do} {v:gbase,s} every day?", s=ASK, v="act daily")
pattern("habit.often", "{s}{f}{v}。", "{s} {f} {v:gpres,s}.", s=S, f="adverb freq", v="act free|daily")
pattern(
    "habit.often_place", "{s}{f}在{p}{v}。", "{s} {f} {v:gpres,s} {p:at}.", s=S, f="adverb freq", v="act free|daily somewhere", p="place @v"
)
pattern("habit.weekend", "{s}{t}都{v}。", "{s} {v:gpres,s} {t}.", s=S, t="time weekly", v="act free|chore home|plan")
pattern("habit.weekday", "{s}{t}{v}。", "{s} {v:gpres,s} {t}s.", s=S, t="time weekday", v="act free|daily")
pattern("habit.times", "{s}每个星期{v:times,k}。", "{s} {v:gpres,s} {k:times} a week.", s=S, v="act sport", k="num 1-5")
pattern("habit.after", "{s}{t}{f}{v}。", "{s} {f} {v:gpres,s} {t}.", s=S, t="time aftermeal", f="adverb freq", v="act free home|sport")
pattern("habit.hours_day", "{s}每天{v}{d}。", "{s} {v:gpres,s} for {d} every day.", s=S, v="act daily dur -obj", d="hour", quota=0.6)
pattern("habit.while_music", "{s}一边听音乐，一边{v}。", "{s:+listen} to music while {v:ing,s}.", s=S, v="act prog chore home")
pattern("habit.home_then", "{s}一到家就{v}。", "{s} {v:gpres,s} as soon as {s:pro} {s:=get} home.", s=S, v="act daily prog home")
pattern("habit.used", "{s}以前常常{v}。", "{s} used to {v:gbase,s} often.", s=S, v="act free")
pattern("habit.no_longer", "{s}现在不{v}了。", "{s:+don't} {v:gbase,s} anymore.", s=S, v="act free skill|daily")

# Future
pattern("future.going_to", "{s}{t}要{v}。", "{s:+be} going to {v:base,s} {t}.", s=S, t="time future day", v=PLAN, quota=1.2)
pattern("future.going_to_q", "{s}{t}要{v}吗？", "{s:?be} going to {v:base,s} {t}?", s=ASK, t="time future day", v=PLAN)
pattern("future.not", "{s}{t}不{v}。", "{s} won't {v:base,s} {t}.", s=S, t="time future day", v=PLAN)
pattern("future.plan", "{s}打算{t}{v}。", "{s:+plan} to {v:base,s} {t}.", s=S, t="time future day", v=PLAN)
pattern("future.when", "{s}什么时候{v}？", "When will {s} {v:base,s}?", s=ASK, v=PLAN)
pattern("future.about_to", "{s}马上就要{v}了。", "{s:+be} about to {v:base,s}.", s=S, v="act plan|chore")
pattern(
    "future.place",
    "{s}{t}要在{p}{v}。",
    "{s:+be} going to {v:base,s} {p:at} {t}.",
    s=S,
    t="time future day",
    v="act plan somewhere",
    p="place @v",
)
pattern(
    "future.with",
    "{s}{t}要和{u}一起{v}。",
    "{s:+be} going to {v:base,s} with {u:obj} {t}.",
    s=ONE,
    t="time future day",
    u="person third -pron",
    v="act free plan",
)
pattern("future.lets", "{t}我们一起{v}吧。", "Let's {v:base} together {t}.", t="time future day", v="act free plan")
pattern("future.where_do", "{s}在哪儿{v}？", "Where {s:?do} {v:gbase,s}?", s=ASK, v="act free|daily somewhere")
pattern("future.moves", "{s}{t}搬到{c}去。", "{s} will move to {c} {t}.", s=S, t="time future long", c="region city|country")
