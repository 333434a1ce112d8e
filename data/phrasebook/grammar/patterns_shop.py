"""Patterns: shopping, prices, restaurant, food and drink."""

from .pattern import pattern

S = "person nonyou"
ONE = "person nonyou single"
ASK = "person you|third -my"
CHEAP = "noun goods|grocery -$3 -$4"  # what one buys several of
WEAR = "noun wear|puton"

# Shopping
pattern("shop.want", "{s}想买{n:one}。", "{s:+want} to buy {n:one}.", s=S, n="noun goods|grocery")
pattern("shop.want_adj", "{s}想买{n:one,a}。", "{s:+want} to buy {n:one,a}.", s=S, n="noun goods", a="adj attr -too @n")
pattern("shop.want_color", "{s}要买{n:one,a}。", "{s:+be} going to buy {n:one,a}.", s=S, n="noun goods color", a="adj attr color")
pattern("shop.bought_k", "{s}买了{n:n,k}。", "{s} bought {n:n,k}.", s=S, n=CHEAP, k="num 2-9")
pattern("shop.bought_one", "{s}买了{n:one}。", "{s} bought {n:one}.", s=S, n="noun goods|grocery")
pattern(
    "shop.bought_two_things",
    "{s}买了{n:one}和{m:one}。",
    "{s} bought {n:one} and {m:one}.",
    s=S,
    n="noun goods|grocery -$4",
    m="noun goods|grocery @n",
)
pattern(
    "shop.bought_time",
    "{s}{t}买了{n:one,a}。",
    "{s} bought {n:one,a} {t}.",
    s=S,
    t="time past -verylong",
    n="noun goods",
    a="adj attr color|new -too @n",
    quota=1.2,
)
pattern("shop.bought_at", "{s}在{p}买了{n:one}。", "{s} bought {n:one} {p:at}.", s=S, p="place shop", n="noun goods|grocery @p")
pattern("shop.price", "{n:this}{p}。", "{n:this} is {p}.", n="noun goods|dish|drink", p="price @n")
pattern("shop.price_ask", "{n:this}多少钱？", "How much is {n:this}?", n="noun goods|grocery|dish|drink")
pattern("shop.price_that", "{n:that}多少钱？", "How much is {n:that}?", n="noun goods|grocery|dish|drink", held_out=True)
pattern("shop.price_jin", "一斤{n}{p}。", "Half a kilo of {n:pl} is {p}.", n="noun fruit|veg|meat", p="price $1")
pattern("shop.price_jin_ask", "{n}多少钱一斤？", "How much is half a kilo of {n:pl}?", n="noun fruit|veg|meat")
pattern("shop.price_k", "{n:n,k}一共{p}。", "{n:n,k} cost {p} altogether.", n="noun grocery|drink|stat", k="num 2-9", p="price $small")
pattern("shop.kilo", "我要买{k:count}公斤{n}。", "I want to buy {k} kilos of {n:pl}.", k="num 2-6", n="noun fruit|veg|meat")
pattern("shop.too", "{n:this}太{a}了。", "{n:this} is too {a}.", n="noun goods|dish|fruit", a="adj too @n")
pattern("shop.a_bit", "{n:this}有点儿{a}。", "{n:this} is a little {a}.", n="noun goods|dish|fruit", a="adj too @n")
pattern("shop.cheaper", "有{a}一点儿的{n}吗？", "Do you have any {a:comp} {n:pl}?", n="noun goods", a="adj cmp @n")
pattern("shop.color_ask", "有{n:,a}吗？", "Do you have {n:any,a}?", n="noun color -veh -toy", a="adj attr color")
pattern("shop.where_buy", "在哪儿能买到{n}？", "Where can I buy {n:pl}?", n="noun goods|grocery")
pattern("shop.sells", "{p:this}卖{n}吗？", "Does {p:this} sell {n:pl}?", p="place shop", n="noun goods|grocery @p")
pattern("shop.can_buy", "在{p}可以买到{n}。", "You can buy {n:pl} {p:at}.", p="place shop", n="noun goods|grocery @p")
pattern("shop.spent", "{s}花{p}买了{n:one}。", "{s} spent {p} on {n:one}.", s=S, n="noun goods", p="price @n")
pattern("shop.like_this", "{s}很喜欢{n:this}。", "{s:+like} {n:this} very much.", s=S, n="noun goods -house")
pattern("shop.like_this_q", "{s}喜欢{n:this}吗？", "{s:?do} like {n:this}?", s=ASK, n="noun goods -house")
pattern("shop.not_like", "{s}不喜欢{n:that}。", "{s:+don't} like {n:that}.", s=S, n="noun goods -house")
pattern("shop.like_color", "{s}喜欢{n:,a}。", "{s:+like} {n:pl,a}.", s=S, n="noun wear|puton", a="adj color attr")
pattern("shop.which", "{s}想要{n:which}？", "{n:which} {s:?do} want?", s=ASK, n="noun goods")
pattern("shop.cheaper_than", "{n:this}比{n:that}{a}。", "{n:this} is {a:comp} than that one.", n="noun goods", a="adj -color @n")
pattern(
    "shop.not_as", "{n:this}没有{n:that}那么{a}。", "{n:this} is not as {a} as that one.", n="noun goods", a="adj -color @n", held_out=True
)
pattern("shop.same", "{n:this}和{n:that}一样{a}。", "{n:this} is as {a} as that one.", n="noun goods", a="adj -color @n")
pattern(
    "shop.dearer_by", "{n:this}比{n:that}贵{p}。", "{n:this} is {p} more expensive than that one.", n="noun goods -$1 -$4", p="price $small"
)
pattern("shop.discount", "{n:this}打{k}折。", "{n:this} is {k} percent off.", n="noun goods", k="fixed 九=10 八=20 七=30 六=40 五=50")
pattern("shop.show", "请给我看看{n:that}。", "Please show me {n:that}.", n="noun goods")
pattern("shop.try", "{s}可以试试{n:this}吗？", "Can {s} try on {n:this}?", s="person pron|my nonyou", n=WEAR)
pattern("shop.suits", "{n:this}很适合{s}。", "{n:this} suits {s:obj} very well.", n=WEAR, s=S)
pattern("shop.give_k", "请给我{n:n,k}。", "Please give me {n:n,k}.", n="noun grocery|drink|stat", k="num 1-9")
pattern("shop.need", "{s}需要{n:one}。", "{s:+need} {n:one}.", s=S, n="noun goods -$1")
pattern("shop.need_new", "{s}需要{n:one,a}。", "{s:+need} {n:one,a}.", s=S, n="noun goods own -read", a="adj attr new @n")
pattern("shop.not_need", "{s}不需要{n}。", "{s:+don't} need {n:any}.", s=S, n="noun goods|grocery")
pattern("shop.enough", "我们的{n}不够了。", "We don't have enough {n:pl}.", n="noun grocery|drink")
pattern("shop.which_better", "{n:this}好还是{n:that}好？", "Is {n:this} better or that one?", n="noun goods|snack")
pattern("shop.very", "{n:this}很{a}。", "{n:this} is very {a}.", n="noun goods|fruit|dish", a="adj -color @n")
pattern("shop.neither", "{n:this}不{a}。", "{n:this} is not {a}.", n="noun goods|fruit|dish", a="adj -color @n")
pattern("shop.is_q", "{n:this}{a}吗？", "Is {n:this} {a}?", n="noun goods|fruit|dish", a="adj -color @n")

# Restaurant, food and drink
pattern("food.order", "我要{n:one}和{m:one}。", "I would like {n:one} and {m:one}.", n="noun dish", m="noun drink")
pattern("food.order_k", "请给我们来{n:n,k}。", "Please bring us {n:n,k}.", n="noun dish|drink", k="num 1-6")
pattern("food.he_orders", "{s}点了{n:one}。", "{s} ordered {n:one}.", s=S, n="noun dish|drink")
pattern("food.like", "{s}喜欢吃{n}。", "{s:+like} eating {n:pl}.", s=S, n="noun eat")
pattern("food.like_q", "{s}喜欢吃{n}吗？", "{s:?do} like eating {n:pl}?", s=ASK, n="noun eat")
pattern("food.not_like", "{s}不喜欢吃{n}。", "{s:+don't} like eating {n:pl}.", s=S, n="noun eat|veg|meat")
pattern("food.like_both", "{s}喜欢吃{n}和{m}。", "{s:+like} eating {n:pl} and {m:pl}.", s=S, n="noun eat", m="noun eat @n")
pattern("food.like_drink", "{s}喜欢喝{n}。", "{s:+like} drinking {n:pl}.", s=S, n="noun drink")
pattern("food.like_drink_q", "{s}喜欢喝{n}吗？", "{s:?do} like drinking {n:pl}?", s=ASK, n="noun drink", held_out=True)
pattern("food.not_drink", "{s}不喝{n}，只喝{m}。", "{s:+don't} drink {n:pl}, only {m:pl}.", s=S, n="noun drink", m="noun drink")
pattern(
    "food.not_eat_or",
    "{s}不吃{n}，也不吃{m}。",
    "{s:+don't} eat {n:pl} or {m:pl}.",
    s=S,
    n="noun meat|veg|fruit",
    m="noun meat|veg|fruit @n",
)
pattern("food.per_day", "{s}每天喝{n:n,k}。", "{s:+drink} {n:n,k} every day.", s=S, n="noun drink -alcohol", k="num 1-5")
pattern("food.drank", "{s}喝了{n:n,k}。", "{s} drank {n:n,k}.", s=S, n="noun drink", k="num 1-3")
pattern("food.ate", "{s}吃了{n:n,k}。", "{s} ate {n:n,k}.", s=S, n="noun fruit|snack", k="num 1-4")
pattern("food.ate_time", "{s}{t}吃了{n:one}。", "{s} ate {n:one} {t}.", s=S, t="time day past", n="noun eat -tiny")
pattern(
    "food.breakfast",
    "{s}早饭吃{n:one}，喝{m:one}。",
    "{s:+have} {n:one} and {m:one} for breakfast.",
    s=S,
    n="noun breakfast eat|meat",
    m="noun drink breakfast|hotdrink",
)
pattern("food.breakfast_past", "{s}今天早饭吃了{n:one}。", "{s} had {n:one} for breakfast today.", s=S, n="noun breakfast -drink")
pattern("food.lunch_past", "{s}午饭吃了{n:one}。", "{s} had {n:one} for lunch.", s=S, n="noun dish")
pattern("food.want_or", "{s}想喝{n}还是{m}？", "{s:?do} want to drink {n:pl} or {m:pl}?", s=ASK, n="noun drink", m="noun drink")
pattern("food.want_eat", "{s}想吃{n}。", "{s:+want} to eat {n:some}.", s=S, n="noun eat")
pattern("food.want_drink", "{s}想喝{n:one}。", "{s:+want} to drink {n:one}.", s=S, n="noun drink")
pattern("food.not_want", "{s}不想吃{n}。", "{s:+don't} want to eat {n:any}.", s=S, n="noun eat")
pattern("food.taste", "{n:this}很{a}。", "{n:this} is very {a}.", n="noun drink|snack|veg|meat", a="adj -color @n", quota=0.6)
pattern("food.cook", "{s}会做{n}。", "{s} can make {n:pl}.", s=S, n="noun dish")
pattern("food.cook_cannot", "{s}不会做{n}。", "{s} can't make {n:pl}.", s=S, n="noun dish")
pattern("food.made", "{s}给{t}做了{n:one}。", "{s} made {t:obj} {n:one}.", s=ONE, t="person third", n="noun dish")
pattern("food.tried", "{s}吃过{c}。", "{s:+have} eaten {c} before.", s=S, c="topic cuisine", quota=0.7)
pattern("food.not_tried", "{s}没吃过{c}。", "{s:+have} never eaten {c}.", s=S, c="topic cuisine", quota=0.7)
pattern("food.cuisine_q", "{s}喜欢{c}吗？", "{s:?do} like {c}?", s=ASK, c="topic cuisine")
pattern("food.favorite", "{s}最喜欢的菜是{n}。", "{s:de} favorite dish is {n:pl}.", s=ONE, n="noun dish -plain")
pattern("food.favorite_fruit", "{s}最喜欢的水果是{n}。", "{s:de} favorite fruit is the {n}.", s=ONE, n="noun fruit count")
pattern("food.table", "{s}想订一张{k:count}个人的桌子。", "{s:+want} to book a table for {k}.", s=S, k="num 2-12")
pattern("food.inside_q", "{n:this}里有{m}吗？", "Is there any {m:pl} in {n:this}?", n="noun dish -plain", m="noun veg|meat mass")
pattern("food.no_put", "请不要放{m}。", "Please don't add any {m:pl}.", m="noun season|veg mass|pair")
pattern(
    "food.treated",
    "{s}请{t}吃了{m}。",
    "{s} treated {t:obj} to {m}.",
    s=ONE,
    t="person third",
    m="fixed 午饭=lunch 晚饭=dinner 火锅=hot_pot 北京烤鸭=Peking_duck",
)
pattern("food.finished", "{s}把{n}吃完了。", "{s} finished the {n}.", s=S, n="noun snack|dish mass|pair")
pattern("food.drank_up", "{s}把{n}喝完了。", "{s} finished the {n}.", s=S, n="noun drink")
pattern("food.eaten_by", "{n}被{s}吃了。", "The {n} {n:was} eaten by {s:obj}.", s=S, n="noun snack|dish|fruit")
pattern("food.more", "请再给我{n:one}。", "Please give me another {n:single}.", n="noun drink|dish|kitchen ", quota=0.6)
pattern("food.out", "{n}没有了，请买一些。", "There {n:are no} left, so please buy some.", n="noun grocery|drink")
pattern("food.recipe", "{s}放了{k:count}勺{n}。", "{s} added {k} spoonfuls of {n}.", s=S, k="num 2-5", n="noun season mass")
pattern("food.healthy", "多吃{n}对身体好。", "Eating more {n:pl} is good for your health.", n="noun fruit|veg")
pattern("food.should_more", "{s}应该多吃{n}。", "{s} should eat more {n:pl}.", s=S, n="noun fruit|veg|meat")
pattern("food.should_less", "{s}应该少喝{n}。", "{s} should drink less {n:pl}.", s=S, n="noun drink -plain")
