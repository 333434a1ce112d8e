"""Patterns: feelings, likes, abilities, duties, wishes, comparisons of people, health, compound sentences."""

from .pattern import pattern

S = "person nonyou"
ONE = "person nonyou single"
ASK = "person you|third -my"

# Feelings
pattern("feel.is", "{s}很{a}。", "{s:+be} very {a}.", s=S, a="adj feeling|person")
pattern("feel.extremely", "{s}非常{a}。", "{s:+be} extremely {a}.", s=S, a="adj feeling|person")
pattern("feel.not", "{s}不{a}。", "{s:+be} not {a}.", s=S, a="adj feeling|person")
pattern("feel.ask", "{s}{a}吗？", "{s:?be} {a}?", s=ASK, a="adj feeling|person")
pattern("feel.now", "{s}现在很{a}。", "{s:+be} very {a} now.", s=S, a="adj feeling")
pattern("feel.past", "{s}{t}很{a}。", "{s:+was} very {a} {t}.", s=S, t="time past day", a="adj feeling")
pattern("feel.a_little", "{s}有点儿{a}。", "{s:+be} a little {a}.", s=S, a="adj bad|bodyfeel")
pattern("feel.why", "{s}为什么这么{a}？", "Why {s:?be} so {a}?", s=ASK, a="adj feeling")
pattern("feel.looks", "{s}看起来很{a}。", "{s:+look} very {a}.", s=S, a="adj feeling|person")
pattern(
    "feel.tired_from",
    "{s}{v:dur,d}，所以很累。",
    "{s} {v:past,s} for {d}, so {s:pro} {s:=was} very tired.",
    s=S,
    v="act chore|sport dur",
    d="hour",
)
pattern("feel.glad_to", "{s}很高兴能{v}。", "{s:+be} very happy to be able to {v:base,s}.", s=S, v="act free plan")
pattern("feel.makes", "{n:this}让{s}很{a}。", "{n:this} made {s:obj} very {a}.", n="noun news|opus", s=S, a="adj glad|bad -self")
pattern("feel.neither", "{s}不{a}，也不{b}。", "{s:+be} not {a} or {b}.", s=S, a="adj feeling", b="adj feeling", quota=0.7)
pattern(
    "feel.tired_want", "{s}很{a}，想{v}。", "{s:+be} very {a} and {s:=want} to {v:base,s}.", s=S, a="fixed 累=tired 困=sleepy", v="act rest"
)

# Likes
pattern("like.do", "{s}喜欢{v}。", "{s:+like} {v:ging,s}.", s=S, v="act free")
pattern("like.not", "{s}不喜欢{v}。", "{s:+don't} like {v:ging,s}.", s=S, v="act free|chore")
pattern("like.ask", "{s}喜欢{v}吗？", "{s:?do} like {v:ging,s}?", s=ASK, v="act free")
pattern("like.both", "{s}喜欢{v}，也喜欢{w}。", "{s:+like} {v:ging,s} and also {s:=like} {w:ging,s}.", s=S, v="act free", w="act free")
pattern(
    "like.but",
    "{s}喜欢{v}，但是不喜欢{w}。",
    "{s:+like} {v:ging,s}, but {s:pro} {s:=don't} like {w:ging,s}.",
    s=S,
    v="act free",
    w="act free",
)
pattern("like.prefer", "和{v}比，{s}更喜欢{w}。", "{s:+prefer} {w:ging,s} to {v:ging,s}.", v="act free", s=S, w="act free")
pattern("like.very", "{s}非常喜欢{v}。", "{s:+like} {v:ging,s} very much.", s=S, v="act free", held_out=True)
pattern("like.hobby", "{s:de}爱好是{v}。", "{s:de} hobby is {v:ging,s}.", s=ONE, v="act free")
pattern("like.music", "{s}喜欢听{x}。", "{s:+like} listening to {x}.", s=S, x="topic music")
pattern("like.sport", "{s}最喜欢的运动是{x}。", "{s:de} favorite sport is {x}.", s=ONE, x="topic sport")
pattern("like.together", "{s}喜欢和{t}一起{v}。", "{s:+like} {v:ging,s} with {t:obj}.", s=ONE, t="person third -pron", v="act free")
pattern("like.place", "{s}喜欢在{p}{v}。", "{s:+like} {v:ging,s} {p:at}.", s=S, v="act free somewhere", p="place @v")
pattern("like.season", "{s}喜欢{t}{v}。", "{s:+like} {v:ging,s} in {t}.", s=S, t="time season", v="act free -cold")
pattern("like.thinks", "{s}觉得{v}很有意思。", "{s:+think} {v:ging,s} is very interesting.", s=S, v="act free")
pattern("like.thinks_work", "{s}觉得{n:this}很{a}。", "{s:+think} {n:this} is very {a}.", s=S, n="noun opus|goods", a="adj -color @n")

# Ability and permission
pattern("can.do", "{s}会{v}。", "{s} can {v:gbase,s}.", s=S, v="act skill")
pattern("can.not", "{s}不会{v}。", "{s} can't {v:gbase,s}.", s=S, v="act skill")
pattern("can.ask", "{s}会{v}吗？", "Can {s} {v:gbase,s}?", s=ASK, v="act skill")
pattern("can.two", "{s}会{v}，也会{w}。", "{s} can {v:gbase,s} and can also {w:gbase,s}.", s=S, v="act skill", w="act skill", held_out=True)
pattern("can.but", "{s}会{v}，但是不会{w}。", "{s} can {v:gbase,s}, but {s:pro} can't {w:gbase,s}.", s=S, v="act skill", w="act skill")
pattern("can.well", "{s}{v:copy}得很好。", "{s} {v:gpres,s} very well.", s=S, v="act skill well")
pattern("can.better", "{s}{v:copy}得比{t}好。", "{s} {v:gpres,s} better than {t:obj}.", s=ONE, v="act skill well", t="person third")
pattern("can.not_well", "{s}{v:copy}得不好。", "{s:+don't} {v:gbase,s} well.", s=S, v="act skill well")
pattern("can.learned_when", "{s}{d}学会了{v}。", "{s} learned to {v:gbase,s} {d}.", s=S, d="time past long", v="act skill")
pattern("can.teach", "{s}教{t}{v}。", "{s:+teach} {t:obj} to {v:gbase,t}.", s=ONE, t="person third", v="act skill")
pattern("can.able", "{s}{t}能{v}吗？", "Can {s} {v:base,s} {t}?", s=ASK, t="time future day", v="act plan")
pattern("can.unable", "{s}{t}不能{v}。", "{s} can't {v:base,s} {t}.", s=S, t="time future day", v="act plan")
pattern("can.start", "{s}从{t}开始学{v}。", "{s} started learning to {v:gbase,s} {t}.", s=S, t="time past long -ago", v="act skill -learn")

# Duty
pattern("must.do", "{s}必须{v}。", "{s} must {v:base,s}.", s=S, v="act chore")
pattern("must.should", "{s}应该{v}。", "{s} should {v:base,s}.", s=S, v="act chore|health|now")
pattern("must.should_not", "{s}不应该{v}。", "{s} shouldn't {v:gbase,s}.", s=S, v="act bad")
pattern("must.need_not", "{s}不用{v}。", "{s:+don't} have to {v:base,s}.", s=S, v="act chore")
pattern("must.have_to", "{s}{t}得{v}。", "{s:+have} to {v:base,s} {t}.", s=S, t="time future day", v="act chore")
pattern(
    "must.need_not_time", "{s}{t}不用{v}。", "{s:+don't} have to {v:base,s} {t}.", s=S, t="time future day", v="act chore", held_out=True
)
pattern("must.have_to_q", "{s}{t}得{v}吗？", "{s:?do} have to {v:base,s} {t}?", s=ASK, t="time future day", v="act chore")
pattern(
    "must.before", "{s}必须在{c}以前{v}。", "{s} must {v:base,s} before {c}.", s=S, c="clock forenoon|afternoon|evening", v="act chore home"
)
pattern("must.forgot", "{s}忘了{v}。", "{s} forgot to {v:base,s}.", s=S, v="act chore|ask")
pattern("must.dont_forget", "别忘了{v}。", "Don't forget to {v:base}.", v="act chore|ask")
pattern("must.enough", "{s}{v}的时间不够。", "{s:+don't} have enough time to {v:base,s}.", s=S, v="act chore prog")

# Wishes
pattern("want.do", "{s}想{v}。", "{s:+want} to {v:base,s}.", s=S, v="act free|plan")
pattern("want.not", "{s}不想{v}。", "{s:+don't} want to {v:base,s}.", s=S, v="act free|plan|chore")
pattern("want.ask", "{s}想{v}吗？", "{s:?do} want to {v:base,s}?", s=ASK, v="act free|plan")
pattern("want.time", "{s}{t}想{v}。", "{s:+want} to {v:base,s} {t}.", s=S, t="time future day", v="act free plan")
pattern("want.hope", "{s}希望{t}能{v}。", "{s:+hope} to {v:base,s} {t}.", s=S, t="time future", v="act free plan")
pattern("want.hope_job", "{s}希望{t}当{j}。", "{s:+hope} {t} will become {j:one}.", s=ONE, t="person name", j="job dream")
pattern("want.or", "{s}想{v}还是{w}？", "{s:?do} want to {v:base,s} or {w:base,s}?", s=ASK, v="act free plan", w="act free plan")
pattern(
    "want.with",
    "{s}想和{t}一起{v}。",
    "{s:+want} to {v:base,s} with {t:obj}.",
    s=ONE,
    t="person third -pron",
    v="act free plan",
    held_out=True,
)
pattern("want.invite", "{s}想请{t}{v}。", "{s:+want} to invite {t:obj} to {v:base,t}.", s=ONE, t="person third", v="act free plan")
pattern("want.time_for", "{s}没有时间{v}。", "{s:+don't} have time to {v:base,s}.", s=S, v="act free|chore")
pattern("want.ready", "{s}准备{v}。", "{s:+be} getting ready to {v:base,s}.", s=S, v="act plan|early")
pattern("want.decided", "{s}决定{t}{v}。", "{s} decided to {v:base,s} {t}.", s=S, t="time future day", v="act plan")

# Comparing people
pattern("comp.than", "{s}比{t}{a}。", "{s:+be} {a:comp} than {t:obj}.", s=ONE, t="person third", a="adj person")
pattern("comp.much", "{s}比{t}{a}得多。", "{s:+be} much {a:comp} than {t:obj}.", s=ONE, t="person third", a="adj person")
pattern("comp.even", "{s}比{t}更{a}。", "{s:+be} even {a:comp} than {t:obj}.", s=ONE, t="person third", a="adj person")
pattern("comp.not_as", "{s}没有{t}那么{a}。", "{s:+be} not as {a} as {t:obj}.", s=ONE, t="person third", a="adj person")
pattern("comp.same", "{s}和{t}一样{a}。", "{s:+be} as {a} as {t:obj}.", s=ONE, t="person third", a="adj person")
pattern(
    "comp.most",
    "{s}是我们班最{a}的学生。",
    "{s:+be} the {a:sup} student in our class.",
    s="person name|pron nonyou -plural",
    a="adj person",
)
pattern(
    "comp.both",
    "{s}和{t}都很{a}。",
    "{s} and {t} are both very {a}.",
    s="person third single",
    t="person third -pron",
    a="adj person|feeling",
)
pattern(
    "comp.ask",
    "{s}比{t}{a}吗？",
    "{s:?be} {a:comp} than {t:obj}?",
    s="person you|third single -my",
    t="person third -pron",
    a="adj person",
    held_out=True,
)
pattern("comp.which", "{s}和{t}谁更{a}？", "Who is {a:comp}, {s} or {t}?", s="person third single", t="person third -pron", a="adj person")
pattern("person.one", "{s}是一个{a:attr}人。", "{s:+be} {a:one} person.", s=ONE, a="adj person attr -mountain")
pattern("person.job_adj", "{s}是{j:one,a}。", "{s:+be} {j:one,a}.", s=ONE, j="job", a="adj attr person -mountain")
pattern(
    "person.but", "{s}很{a}，但是{t}不{a}。", "{s:+be} very {a}, but {t:+be} not.", s=ONE, t="person third -pron", a="adj person|feeling"
)

# Health
pattern("health.ill", "{s}{i}。", "{s:+have} {i}.", s=S, i="topic illness")
pattern("health.ask", "{s}{i}吗？", "{s:?do} have {i}?", s=ASK, i="topic illness")
pattern("health.see_doctor", "{s}{i}，应该去看医生。", "{s:+have} {i} and should see a doctor.", s=S, i="topic illness")
pattern("health.rested", "{s}{i}，休息了{d}。", "{s} had {i} and rested for {d}.", s=S, i="topic illness", d="day")
pattern(
    "health.not_go",
    "因为{s}{i}，所以今天没去{p}。",
    "Because {s} had {i}, {s:pro} didn't go {p:to} today.",
    s=S,
    i="topic illness",
    p="place work|study",
)
pattern("health.hurts", "{s:de}{x}{n}疼。", "{s:de} {x} {n} hurts.", s=ONE, x="fixed 左=left 右=right", n="noun body pair")
pattern("health.back_hurts", "{s:de}{n}很疼。", "{s:de} {n} hurts a lot.", s=ONE, n="noun hurt")
pattern("health.hurt", "{s:de}{x}{n}受伤了。", "{s:de} {x} {n} was injured.", s=ONE, x="fixed 左=left 右=right", n="noun hurtp pair")
pattern("health.no_longer", "{s:de}{n}不疼了。", "{s:de} {n} doesn't hurt anymore.", s=ONE, n="noun hurt|hurtp")
pattern("health.doctor_says", "医生让{s}休息{d}。", "The doctor told {s:obj} to rest for {d}.", s=S, d="day")
pattern("health.doctor_tells", "医生让{s}{v}。", "The doctor told {s:obj} to {v:base,s}.", s=S, v="act health")
pattern("health.medicine", "{s}每天吃{k:count}次药。", "{s:+take} medicine {k:times} a day.", s=S, k="num 1-4", quota=0.7)
pattern("health.hospital", "{s}在医院住了{d}。", "{s} was in the hospital for {d}.", s=ONE, d="day")

# Compound sentences
pattern(
    "if.weather",
    "如果{t}{w}，{s}就不{v}了。",
    "If it {w:third} {t}, {s} won't {v:base,s}.",
    t="time future weather",
    w="act weather",
    s=S,
    v="act out plan",
)
pattern(
    "if.time",
    "如果{t}有时间，{s}会{v}。",
    "If {s} {s:=have} time {t}, {s:pro} will {v:base,s}.",
    t="time future day",
    s=S,
    v="act free plan",
)
pattern("if.tired", "如果{s}{a}了，{s:pro}可以休息。", "If {s:+be} {a}, {s:pro} can rest.", s=S, a="fixed 累=tired 困=sleepy")
pattern(
    "because.weather",
    "因为{t}{w}，所以{s}没{v}。",
    "Because it {w:past} {t}, {s} didn't {v:base,s}.",
    t="time past weather",
    w="act weather",
    s=S,
    v="act out plan",
)
pattern(
    "because.like",
    "因为{s}喜欢{v}，所以常常去{p}。",
    "Because {s:+like} {v:ging,s}, {s:pro} often {s:=go} {p:to}.",
    s=S,
    v="act free out|read somewhere",
    p="place near|nature @v",
)
pattern(
    "although.tired",
    "虽然{s}很{a}，但是还在{v}。",
    "Although {s:+be} very {a}, {s:pro} {s:=be} still {v:ing,s}.",
    s=S,
    a="adj bodyfeel",
    v="act prog chore",
)
pattern(
    "although.weather",
    "虽然{x}，{s}还是{v}了。",
    "Although {x}, {s} still {v:past,s}.",
    s=S,
    v="act out sport",
    x="fixed 天气很冷=it_was_very_cold 天气很热=it_was_very_hot 下雨了=it_rained 下雪了=it_snowed",
)
pattern(
    "although.learn",
    "虽然{x}很难，但是{s}很喜欢。",
    "Although {x} is very difficult, {s:+like} it very much.",
    x="topic subject|language",
    s=S,
)
pattern(
    "say.will",
    "{s}说{t}{d}要{v}。",
    "{s:+say} that {t:+be} going to {v:base,t} {d}.",
    s=ONE,
    t="person third -pron",
    d="time future day",
    v="act plan",
)
pattern("say.heard", "{s}听说{t}去过{c}。", "{s} heard that {t} had been to {c}.", s=ONE, t="person third -pron", c="region")
pattern(
    "say.told",
    "{s}告诉{t}，{c}很{a}。",
    "{s} told {t:obj} that {c} was very {a}.",
    s=ONE,
    t="person third -pron",
    c="region city",
    a="adj city",
)
pattern("say.think_will", "{s}觉得{t}会{v}。", "{s:+think} it will {v} {t}.", s=S, t="time future weather", v="act weather")
pattern(
    "say.know_can",
    "{s}知道{t}会说{x}。",
    "{s:+know} that {t} can speak {x}.",
    s=ONE,
    t="person third -pron",
    x="topic language",
    held_out=True,
)
pattern(
    "say.know_when", "{s}不知道{t}什么时候{v}。", "{s:+don't} know when {t} will {v:base,t}.", s=ONE, t="person third -pron", v="act plan"
)
pattern(
    "compound.one_other",
    "{s}喜欢{v}，{t}喜欢{w}。",
    "{s:+like} {v:ging,s}, and {t:+like} {w:ging,t}.",
    s="person third single",
    v="act free",
    t="person third -pron",
    w="act free",
)
pattern(
    "compound.too", "{s}喜欢{v}，{t}也喜欢{v}。", "{s:+like} {v:ging,s}, and {t} {t:=do}, too.", s=ONE, v="act free", t="person third -pron"
)
