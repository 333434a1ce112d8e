"""Patterns: possession, where things are, 把 and 被, giving and lending, clothes, animals, chores, requests."""

from .pattern import pattern

S = "person nonyou"
ONE = "person nonyou single"
ASK = "person you|third -my"
SMALL = "noun small -bag -tiny"
SURFACE = "noun surface"

# Possession
pattern("own.have", "{s}有{n:one}。", "{s:+have} {n:one}.", s=S, n="noun own -$4 -doc")
pattern("own.have_k", "{s}有{n:n,k}。", "{s:+have} {n:n,k}.", s=ONE, n="noun own -doc -$4", k="num 2-6")
pattern("own.have_adj", "{s}有{n:one,a}。", "{s:+have} {n:one,a}.", s=S, n="noun own", a="adj attr -too @n")
pattern("own.not_have", "{s}没有{n}。", "{s:+don't} have {n:one}.", s=S, n="noun own")
pattern("own.have_q", "{s}有{n}吗？", "{s:?do} have {n:one}?", s=ASK, n="noun own")
pattern("own.how_many", "{s}有{n:howmany}？", "{n:howmany} {s:?do} have?", s=ASK, n="noun own -doc -$4")
pattern("own.whose", "{n:this}是谁的？", "Who does {n:this} belong to?", n="noun own|small|wear")
pattern("own.belongs", "{n:this}是{s:de}。", "{n:this} belongs to {s:obj}.", n="noun own", s=ONE)
pattern("own.belongs_not", "{n:this}不是{s:de}。", "{n:this} doesn't belong to {s:obj}.", n="noun own", s=ONE)
pattern(
    "own.belongs_q",
    "{n:this}是{s:de}吗？",
    "Does {n:this} belong to {s:obj}?",
    n="noun own",
    s="person you|third single -my",
    held_out=True,
)
pattern("own.color_q", "{s:de}{n}是什么颜色的？", "What color {n:be} {s:de} {n}?", s="person you|third single -my", n="noun own color -doc")
pattern("own.color", "{s:de}{n}是{a:attr}。", "{s:de} {n} {n:be} {a}.", s=ONE, n="noun own color", a="adj color attr")
pattern("own.adj", "{s:de}{n}很{a}。", "{s:de} {n} {n:be} very {a}.", s=ONE, n="noun own", a="adj -color @n")
pattern("own.adj_not", "{s:de}{n}不{a}。", "{s:de} {n} {n:be} not {a}.", s=ONE, n="noun own", a="adj -color @n", held_out=True)
pattern("own.lost", "{s:de}{n}丢了。", "{s:de} {n} {n:be} lost.", s=ONE, n="noun lose")
pattern("own.looking", "{s}正在找{s:pro}的{n}。", "{s:+be} looking for {s:pro de} {n}.", s=ONE, n="noun lose")
pattern("own.cant_find", "{s}找不到{s:pro}的{n}。", "{s} can't find {s:pro de} {n}.", s=ONE, n="noun lose")
pattern(
    "own.found",
    "{s}在{f}下边找到了{s:pro}的{n}。",
    "{s} found {s:pro de} {n} under the {f}.",
    s=ONE,
    f="noun surface|seat|bed furn",
    n="noun lose small -bag",
)
pattern("own.forgot", "{s}忘带{n}了。", "{s} forgot to bring {s:pro de} {n}.", s=ONE, n="noun lose|doc")

# Where things are
pattern("where.on", "{s:de}{n}在{f}上。", "{s:de} {n} {n:be} on the {f}.", s=ONE, f=SURFACE, n="noun own -bag @f")
pattern("where.in", "{s:de}{n}在{b}里。", "{s:de} {n} {n:be} in the {b}.", s=ONE, b="noun inside|bag", n="noun own -bag @b")
pattern(
    "where.under", "{s:de}{n}在{f}下边。", "{s:de} {n} {n:be} under the {f}.", s=ONE, n="noun own small", f="noun surface|seat|bed furn"
)
pattern("where.ask", "{s:de}{n}在哪儿？", "Where {n:be} {s:de} {n}?", s="person you|third single -my", n="noun lose|doc")
pattern("where.not_on", "{s:de}{n}不在{f}上。", "{s:de} {n} {n:be} not on the {f}.", s=ONE, f=SURFACE, n="noun own -bag @f", held_out=True)
pattern("where.there_k", "{f}上有{n:n,k}。", "There are {n:n,k} on the {f}.", f=SURFACE, n="noun -bag -tiny @f", k="num 2-9")
pattern("where.there_one", "{f}上有{n:one}。", "There is {n:one} on the {f}.", f=SURFACE, n="noun -bag -tiny @f")
pattern("where.in_k", "{b}里有{n:n,k}。", "There are {n:n,k} in the {b}.", b="noun inside|bag", n="noun -bag -tiny @b", k="num 2-9")
pattern("where.none", "{f}上没有{n}。", "There {n:are no} on the {f}.", f=SURFACE, n="noun -bag -tiny @f")
pattern("where.how_many", "{f}上有{n:howmany}？", "{n:howmany} are there on the {f}?", f=SURFACE, n="noun -bag -tiny @f")
pattern(
    "where.cat",
    "{n}在{f}{x}。",
    "The {n} is {x} the {f}.",
    n="noun roams",
    f="noun furn surface|seat|bed",
    x="fixed 上=on 下边=under 旁边=next_to 后边=behind",
)
pattern("where.room_k", "{p}里有{n:n,k}。", "There are {n:n,k} {p:at}.", p="place room -wet", n="noun seat|surface furn", k="num 2-6")
pattern(
    "where.tree_k",
    "{p}有{n:n,k}。",
    "There are {n:n,k} {p}.",
    n="noun tree",
    k="num 2-30",
    p="fixed 公园里=in_the_park 花园里=in_the_garden 院子里=in_the_yard 河边=by_the_river 湖边=by_the_lake "
    "学校里=at_school 操场上=on_the_sports_ground 农场里=on_the_farm 寺庙里=at_the_temple",
)
pattern("where.fridge", "冰箱里有{n:n,k}。", "There are {n:n,k} in the refrigerator.", n="noun fruit|veg|drink|meat -tiny", k="num 2-9")

# 把 and 被
pattern("ba.put_on", "请把{n}放在{f}上。", "Please put the {n} on the {f}.", f=SURFACE, n="noun -bag -tiny @f")
pattern("ba.put_in", "请把{n}放进{b}里。", "Please put the {n} in the {b}.", b="noun inside|bag", n="noun -bag -tiny @b")
pattern("ba.put_past", "{s}把{n}放在{f}上了。", "{s} put the {n} on the {f}.", s=S, f=SURFACE, n="noun -bag -tiny @f")
pattern("ba.give", "请把{n}给{s}。", "Please give the {n} to {s:obj}.", n=SMALL, s=ONE)
pattern("ba.take_home", "{s}把{n}带回家了。", "{s} took the {n} home.", s=S, n="noun small|elec -kitchen")
pattern("ba.left_at", "{s}把{n}忘在{p}了。", "{s} left {s:pro de} {n} {p:at}.", s=ONE, n="noun lose -doc", p="place near")
pattern("ba.washed", "{s}把{n}洗干净了。", "{s} washed the {n} clean.", s=S, n="noun wash|wash2")
pattern("ba.repaired", "{s}把{n}修好了。", "{s} repaired the {n}.", s=S, n="noun fix")
pattern("ba.sold", "{s}把{s:pro}的{n}卖了。", "{s} sold {s:pro de} {n}.", s=ONE, n="noun own $3|$4")
pattern("ba.broke", "{s}把{n}打破了。", "{s} broke the {n}.", s=S, n="noun break")
pattern("bei.stolen", "{s:de}{n}被偷了。", "{s:de} {n} {n:was} stolen.", s=ONE, n="noun lose|veh own")
pattern("bei.broken", "{n}被{s}打破了。", "The {n} {n:was} broken by {s:obj}.", n="noun break", s=S, held_out=True)

# Giving, lending, receiving
pattern("give.gave", "{s}送给{t}{n:one}。", "{s} gave {t:obj} {n:one}.", s=ONE, t="person third", n="noun gift -$4")
pattern(
    "give.birthday",
    "{s}想送{t}{n:one}做生日礼物。",
    "{s:+want} to give {t:obj} {n:one} as a birthday present.",
    s=ONE,
    t="person third",
    n="noun gift",
)
pattern("give.got", "{s}收到了{t}送的{n:one}。", "{s} got {n:one} from {t:obj}.", s=ONE, t="person third", n="noun gift")
pattern("lend.borrow_q", "我可以借{s:de}{n}吗？", "Can I borrow {s:de} {n}?", s="person you|third single -my", n="noun lend -private")
pattern("lend.lent", "{s}借给了{t}{n:one}。", "{s} lent {t:obj} {n:one}.", s=ONE, t="person third", n="noun lend -private")
pattern("lend.library", "{s}从图书馆借了{n:n,k}。", "{s} borrowed {n:n,k} from the library.", s=S, n="noun read -private", k="num 1-9")
pattern("lend.return", "{s}应该把{n}还给{t}。", "{s} should return the {n} to {t:obj}.", s=ONE, n="noun lend -private", t="person third")
pattern("lend.returned", "{s}把{n}还给{t}了。", "{s} returned the {n} to {t:obj}.", s=ONE, n="noun lend -private", t="person third")

# Clothes
pattern("wear.now", "{s}穿着{n:one,a}。", "{s:+be} wearing {n:one,a}.", s=ONE, n="noun wear", a="adj attr color")
pattern("wear.on_head", "{s}戴着{n:one,a}。", "{s:+be} wearing {n:one,a}.", s=ONE, n="noun puton color -elec", a="adj attr color")
pattern("wear.yesterday", "{s}{t}穿了{n:one}。", "{s} wore {n:one} {t}.", s=ONE, t="time past day", n="noun wear")
pattern(
    "wear.cold",
    "天气很冷，{s}应该穿{n:one}。",
    "It is very cold, so {s} should wear {n:one}.",
    s="person nonyou single",
    n="noun wear winter",
)
pattern("wear.hot", "天气很热，{s}想穿{n:one}。", "It is very hot, so {s:+want} to wear {n:one}.", s=ONE, n="noun wear summer")
pattern("wear.like_color", "{s}喜欢穿{c:attr}衣服。", "{s:+like} wearing {c} clothes.", s=S, c="adj color attr")
pattern("wear.wash", "{s}需要洗{n:this}。", "{s:+need} to wash {n:this}.", s=S, n="noun wash|wash2")
pattern("wear.favorite_color", "{s}最喜欢的颜色是{c}。", "{s:de} favorite color is {c}.", s=ONE, c="topic colour")

# Animals and plants
pattern("pet.keeps", "{s}养了{n:one}。", "{s:+keep} {n:one}.", s=S, n="noun pet own")
pattern("pet.keeps_k", "{s}养了{n:n,k}。", "{s:+keep} {n:n,k}.", s=S, n="noun pet|farm", k="num 2-9")
pattern("pet.like", "{s}喜欢{n}。", "{s:+like} {n:pl}.", s=S, n="noun animal|flower")
pattern("pet.afraid", "{s}怕{n}。", "{s:+be} afraid of {n:pl}.", s=S, n="noun zoo|bug")
pattern("pet.not_afraid", "{s}不怕{n}。", "{s:+be} not afraid of {n:pl}.", s=S, n="noun zoo|bug")
pattern("pet.lovely", "{s:de}{n}很{a}。", "{s:de} {n} is very {a}.", s=ONE, n="noun pet own", a="adj @n", quota=0.5)
pattern("plant.planted", "{s}{t}种了{n:n,k}。", "{s} planted {n:n,k} {t}.", s=S, t="time past -now", n="noun tree", k="num 1-9")
pattern("plant.flowers", "{s}送给{t}{n:n,k}。", "{s} gave {t:obj} {n:n,k}.", s=ONE, t="person third", n="noun flower", k="num 3-20")

# Chores and requests
pattern("ask.please", "请{v}。", "Please {v}.", v="act ask")
pattern("ask.can_you", "你可以{v}吗？", "Can you {v:base}?", v="act ask|chore -plan")
pattern("ask.help_me", "请帮{s}{v}。", "Please help {s:obj} {v:base,s}.", s=ONE, v="act ask|chore -plan")
pattern("ask.helps", "{s}常常帮{t}{v}。", "{s} often {s:=help} {t:obj} {v:base,t}.", s=ONE, t="person third", v="act chore home")
pattern("ask.tells", "{s}让{t}{v}。", "{s:+ask} {t:obj} to {v:base,t}.", s=ONE, t="person third", v="act ask|chore -plan")
pattern("ask.do_not", "不要在{p}{v}。", "Don't {v:base} {p:at}.", p="place near|room|work", v="act no -free -home")
pattern("ask.may_not", "在{p}不能{v}。", "You can't {v:base} {p:at}.", p="place near|room|work", v="act no -free -home")
pattern("ask.bring_me", "请给我{n:one}。", "Please give me {n:one}.", n="noun ask|drink|dish|grocery|read", quota=0.7)
pattern("ask.show_photo", "{s}给{t}看了{n:one}。", "{s} showed {t:obj} {n:one}.", s=ONE, t="person third", n="noun show")
pattern("ask.bring", "别忘了带{n}。", "Don't forget to bring your {n}.", n="noun lose|doc")
pattern("ask.question", "{s}问了{t}{n:one,a}。", "{s} asked {t:obj} {n:one,a}.", s=ONE, t="person third", n="noun ask2", a="adj attr @n")
pattern("ask.advice", "{s}给了{t}{n:one,a}。", "{s} gave {t:obj} {n:one,a}.", s=ONE, t="person third", n="noun give", a="adj attr useful")
