"""Patterns: verbs with objects of the lexicon, nature and pictures, ideas and plans, bodies, bedtime habits."""

from .pattern import pattern

S = "person nonyou"
ONE = "person nonyou single"
ASK = "person you|third -my"

# Verb and object (lexicon/verbs.tsv)
pattern("verb.did", "{s}{v}了{n:one}。", "{s} {v:past} {n:one}.", s=S, v="verb le", n="noun -$4 @v", quota=1.5)
pattern(
    "verb.did_time", "{s}{t}{v}了{n:one}。", "{s} {v:past} {n:one} {t}.", s=S, t="time past day", v="verb le", n="noun -$4 @v", quota=1.5
)
pattern("verb.did_k", "{s}{v}了{n:n,k}。", "{s} {v:past} {n:n,k}.", s=S, v="verb many", n="noun @v", k="num 2-5")
pattern("verb.did_this_q", "{s}{v}了{n:this}吗？", "Did {s} {v} {n:this}?", s=ASK, v="verb le -result", n="noun @v")
pattern("verb.did_not", "{s}没{v}{n:this}。", "{s} didn't {v} {n:this}.", s=S, v="verb le -result", n="noun @v")
pattern("verb.who", "谁{v}了{n:this}？", "Who {v:past} {n:this}?", v="verb le -result", n="noun @v")
pattern("verb.already", "{s}已经{v}了{n:this}。", "{s:+have} already {v:pp} {n:this}.", s=S, v="verb le -result", n="noun @v")
pattern("verb.want", "{s}想{v}{n:one}。", "{s:+want} to {v} {n:one}.", s=S, v="verb want", n="noun -$4 @v")
pattern("verb.want_this", "{s}想{v}{n:this}。", "{s:+want} to {v} {n:this}.", s=S, v="verb want", n="noun @v")
pattern("verb.not_want", "{s}不想{v}{n:this}。", "{s:+don't} want to {v} {n:this}.", s=S, v="verb want", n="noun @v")
pattern("verb.want_q", "{s}想{v}{n:this}吗？", "{s:?do} want to {v} {n:this}?", s=ASK, v="verb want", n="noun @v", held_out=True)
pattern(
    "verb.will", "{s}{t}要{v}{n:one}。", "{s:+be} going to {v} {n:one} {t}.", s=S, t="time future day", v="verb future", n="noun -$4 @v"
)
pattern("verb.need", "{s}需要{v}{n:this}。", "{s:+need} to {v} {n:this}.", s=S, v="verb need", n="noun -$4 @v")
pattern("verb.using", "{s}正在用{n:this}。", "{s:+be} using {n:this}.", s=S, n="noun tool|kitchen|elec")
pattern("verb.can_use", "{s}可以用{n:this}吗？", "Can {s} use {n:this}?", s="person pron|my nonyou", n="noun tool|kitchen|elec|stat")
pattern("verb.how_use", "{n:this}怎么用？", "How do you use {n:this}?", n="noun tool|elec")
pattern("verb.writing", "{s}正在写{n:one}。", "{s:+be} writing {n:one}.", s=S, n="noun written")
pattern("verb.reading", "{s}正在看{n:one,a}。", "{s:+be} reading {n:one,a}.", s=S, n="noun read", a="adj attr opus @n")

# Nature and pictures
pattern("picture.k", "照片里有{n:n,k}。", "There are {n:n,k} in the photo.", n="noun nature|animal|tree|veh count", k="num 2-9")
pattern("picture.one", "照片里有{n:one}。", "There is {n:one} in the photo.", n="noun nature|animal|tree|veh")
pattern("picture.one_adj", "照片里有{n:one,a}。", "There is {n:one,a} in the photo.", n="noun nature|animal|tree|veh", a="adj attr @n")
pattern("picture.drew", "{s}画了{n:one}和{m:one}。", "{s} drew {n:one} and {m:one}.", s=S, n="noun nature", m="noun animal|tree|flower")
pattern("picture.took", "{s}给{t}拍了{k:count}张照片。", "{s} took {k} photos of {t:obj}.", s=ONE, t="person third", k="num 2-20")
pattern("nature.is", "{n:this}很{a}。", "{n:this} is very {a}.", n="noun nature", a="adj -color @n")
pattern("nature.than", "{n:this}比{n:that}{a}。", "{n:this} is {a:comp} than that one.", n="noun nature|tree", a="adj -color @n")
pattern("nature.has", "{c}有{n:one,a}。", "There is {n:one,a} in {c}.", c="region city|country", n="noun scenic", a="adj attr @n")
pattern(
    "animal.are", "{n}很{a}。", "{n:pl} are very {a}.", n="noun zoo|farm", a="fixed 可爱=cute 聪明=smart 有意思=interesting 漂亮=beautiful"
)
pattern("animal.dangerous", "{n}很危险。", "{n:pl} are very dangerous.", n="noun fierce")
pattern("animal.favorite", "{s}最喜欢的动物是{n}。", "{s:de} favorite animal is the {n}.", s=ONE, n="noun animal")
pattern("animal.like_both", "{s}喜欢{n}和{m}。", "{s:+like} {n:pl} and {m:pl}.", s=S, n="noun animal -bug", m="noun animal -bug")
pattern("road.saw", "{s}在路上看到了{n:n,k}。", "{s} saw {n:n,k} on the road.", s=S, n="noun veh road", k="num 2-9")
pattern("road.fast", "{n:this}很快。", "{n:this} is very fast.", n="noun veh", quota=0.2)

# Ideas, plans, news
pattern("idea.have", "{s}有{n:one,a}。", "{s:+have} {n:one,a}.", s=S, n="noun good", a="adj attr @n")
pattern("idea.this", "这是{n:one,a}。", "This is {n:one,a}.", n="noun good|ask2|opus|gift", a="adj attr @n")
pattern("idea.k", "{s}有{n:n,k}。", "{s:+have} {n:n,k}.", s=ONE, n="noun plural_idea", k="num 2-5")
pattern("idea.told", "{s}告诉了{t}{n:one}。", "{s} told {t:obj} {n:one}.", s=ONE, t="person third", n="noun tell")
pattern("idea.joke", "{s}给{t}讲了{n:one,a}。", "{s} told {t:obj} {n:one,a}.", s=ONE, t="person third", n="noun story", a="adj attr opus")
pattern(
    "idea.dream",
    "{s}{t}做了一个{a}的梦。",
    "{s} had {a} dream {t}.",
    s=S,
    t="fixed 昨天晚上=last_night 前天晚上=the_night_before_last",
    a="fixed 奇怪=a_strange 有意思=an_interesting 可怕=a_terrible 美丽=a_beautiful",
)
pattern(
    "idea.mistakes",
    "{s}在{x}考试里犯了{k:count}个错误。",
    "{s} made {k} mistakes in the {x} exam.",
    s=S,
    x="topic subject|language",
    k="num 2-12",
)
pattern(
    "idea.courses",
    "{s}这个学期有{k:count}门课程。",
    "{s:+have} {k} courses this term.",
    s="person pron|name nonyou",
    k="num 2-9",
    quota=0.8,
)

# Bodies
pattern("body.eyes", "{s:de}眼睛是{a:attr}。", "{s:de} eyes are {a}.", s=ONE, a="adj eye attr")
pattern("body.hair_color", "{s:de}头发是{a:attr}。", "{s:de} hair is {a}.", s=ONE, a="adj hair attr")
pattern("body.hair_long", "{s:de}头发很{a}。", "{s:de} hair is very {a}.", s=ONE, a="fixed 长=long 短=short")
pattern("body.face", "{s:de}{n}很{a}。", "{s:de} {n} is very {a}.", s=ONE, n="noun face", a="fixed 大=big 小=small")

# Mornings and evenings
pattern("day.morning", "{s}每天早上都{v}。", "{s} {v:gpres,s} every morning.", s=S, v="act daily early|health")
pattern("day.evening", "{s}每天晚上都{v}。", "{s} {v:gpres,s} every evening.", s=S, v="act free home dur")
pattern("day.bedtime", "{s}睡觉以前{f}{v}。", "{s} {f} {v:gpres,s} before going to bed.", s=S, f="adverb freq", v="act bedtime")
pattern("day.degree", "{s}{d}{a}。", "{s:+be} {d} {a}.", s=S, d="adverb degree -bad", a="adj feeling|person")
pattern("day.only_when", "{s}只有{t}才{v}。", "{s} only {v:gpres,s} {t}.", s=S, t="time weekday", v="act free sport", held_out=True)
