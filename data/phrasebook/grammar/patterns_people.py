"""Patterns: greetings, identity, family, jobs, nationality, languages, age, school."""

from .pattern import pattern

S = "person nonyou"  # subject of statements
ONE = "person nonyou single"  # one person, not 'we' or 'they'
ASK = "person you|third -my"  # subject of questions
NAMED = "person name|title"
KNOWN = "person pron|name|title nonyou single"

# Greetings and introductions
pattern("phrase.fixed", "{p}", "{p}", p="phrase", quota=2)
pattern("greet.daytime", "{p}，{g}！", "Good {g}, {p}!", p=NAMED, g="fixed 早上好=morning 下午好=afternoon 晚上好=evening")
pattern("greet.meet", "{p}，很高兴认识你。", "Nice to meet you, {p}.", p=NAMED)
pattern("greet.bye", "{p}，我们{t}见！", "See you {t}, {p}!", p=NAMED, t="time future -long", quota=0.7)
pattern("greet.how", "{s}最近怎么样？", "How {s:?have} been recently?", s="person third -pron -my")
pattern("intro.name", "我叫{p}。", "My name is {p}.", p="person name")
pattern("intro.this_is", "这是{k}，{k:pro}是{j}。", "This is {k}, and {k:pro} is {j:one}.", k="person my", j="job -student")
pattern("intro.know", "{s}认识{t}。", "{s:+know} {t:obj}.", s=ONE, t="person name|title")
pattern("intro.know_q", "你认识{t}吗？", "Do you know {t:obj}?", t="person my|other|name|title")
pattern("intro.known_years", "{s}认识{t}{d}了。", "{s:+have} known {t:obj} for {d}.", s=ONE, t="person name|title", d="year")

# Jobs
pattern("job.is", "{s}是{j}。", "{s:+be} {j:one}.", s=ONE, j="job")
pattern("job.ask", "{s}是{j}吗？", "{s:?be} {j:one}?", s="person third single -my", j="job")
pattern("job.not_but", "{s}不是{j}，是{k}。", "{s:+be} not {j:one} but {k:one}.", s=ONE, j="job", k="job")
pattern("job.works_at", "{s}在{p}工作。", "{s:+work} {p:at}.", s=S, p="place work")
pattern("job.job_and_place", "{s}是{j}，在{p}工作。", "{s:+be} {j:one} and {s:=work} {p:at}.", s=ONE, j="job", p="place work @j")
pattern("job.wants", "{s}想当{j}。", "{s:+want} to be {j:one}.", s="person pron|name|young -plural", j="job dream")
pattern(
    "job.grows_up", "{s}长大以后想当{j}。", "{s:+want} to be {j:one} when {s:pro} {s:=grow} up.", s="person name|child|sib", j="job dream"
)
pattern("job.dream", "{s:de}梦想是当{j}。", "{s:de} dream is to be {j:one}.", s="person pron|name|young -plural", j="job dream")
pattern(
    "job.used_to",
    "{s}以前是{j}，现在是{k}。",
    "{s} used to be {j:one}, but now {s:pro} {s:=be} {k:one}.",
    s="person pron|title|adult nonyou -plural",
    j="job",
    k="job",
)
pattern("job.years", "{s}在{p}工作了{d}。", "{s} worked {p:at} for {d}.", s=S, p="place work", d="year")
pattern("job.years_now", "{s}在{p}工作{d}了。", "{s:+have} been working {p:at} for {d}.", s=S, p="place work", d="year")
pattern("job.where", "{s}在哪儿工作？", "Where {s:?do} work?", s=ASK)
pattern("job.salary", "{s}每个月挣{m}。", "{s:+earn} {m} every month.", s=S, m="price $pay")

# Nationality and home
pattern("nation.is", "{s}是{n}。", "{s:+be} {n}.", s=S, n="nation")
pattern("nation.ask", "{s}是{n}吗？", "{s:?be} {n}?", s=ASK, n="nation")
pattern("nation.not", "{s}不是{n}。", "{s:+be} not {n}.", s=S, n="nation")
pattern("nation.not_but", "{s}不是{n}，是{m}。", "{s:+be} not {n} but {m}.", s=S, n="nation", m="nation", held_out=True)
pattern("home.from", "{s}来自{c}。", "{s:+come} from {c}.", s=S, c="region city|country")
pattern("home.lives", "{s}住在{c}。", "{s:+live} in {c}.", s=S, c="region city|country")
pattern("home.lives_ask", "{s}住在{c}吗？", "{s:?do} live in {c}?", s=ASK, c="region city", held_out=True)
pattern("home.not_live", "{s}不住在{c}。", "{s:+don't} live in {c}.", s=S, c="region city")
pattern("home.years", "{s}在{c}住了{d}了。", "{s:+have} lived in {c} for {d}.", s=S, c="region city|country", d="year")
pattern("home.born", "{s}出生在{c}。", "{s} {s:=was} born in {c}.", s=S, c="region city|country")
pattern(
    "home.born_year",
    "{s}是{y:digits}年出生的。",
    "{s:+was} born in {y:digits}.",
    s="person pron|name|young -child nonyou -plural",
    y="num 1955-2012",
)
pattern(
    "home.grew_up", "{s}在{c}长大，现在住在{d}。", "{s} grew up in {c} and now {s:=live} in {d}.", s=S, c="region city", d="region city"
)
pattern("home.like_city", "{s}很喜欢{c}。", "{s:+like} {c} very much.", s=S, c="region city|country")

# Languages
pattern("lang.can", "{s}会说{x}。", "{s} can speak {x}.", s=S, x="topic language")
pattern("lang.cannot", "{s}不会说{x}。", "{s} can't speak {x}.", s=S, x="topic language")
pattern("lang.ask", "{s}会说{x}吗？", "Can {s} speak {x}?", s=ASK, x="topic language")
pattern("lang.both", "{s}会说{x}和{y}。", "{s} can speak {x} and {y}.", s=S, x="topic language", y="topic language")
pattern(
    "lang.but",
    "{s}会说{x}，但是不会说{y}。",
    "{s} can speak {x}, but {s:pro} can't speak {y}.",
    s=S,
    x="topic language",
    y="topic language",
    held_out=True,
)
pattern("lang.learning", "{s}在学{x}。", "{s:+be} studying {x}.", s=S, x="topic language")
pattern("lang.years", "{s}学{x}学了{d}了。", "{s:+have} been studying {x} for {d}.", s=S, x="topic language", d="year")
pattern("lang.months", "{s}学了{d}{x}。", "{s} studied {x} for {d}.", s=S, x="topic language", d="month")
pattern("lang.teach", "{s}教{t}{x}。", "{s:+teach} {t:obj} {x}.", s=ONE, t="person third", x="topic language")
pattern("lang.a_little", "{s}会说一点儿{x}。", "{s} can speak a little {x}.", s=S, x="topic language")
pattern("lang.want", "{s}想学{x}。", "{s:+want} to study {x}.", s=S, x="topic language")

# Age and family
pattern("age.is", "{s}今年{k}岁。", "{s:+be} {k} years old.", s="person pron|name nonyou -plural", k="num 6-45")
pattern("age.parents", "{s}今年{k}岁。", "{s:+be} {k} years old.", s="person adult -old -name -title", k="num 35-59", quota=0.7)
pattern("age.grandparents", "{s}今年{k}岁了。", "{s:+be} already {k} years old.", s="person old", k="num 60-95", quota=0.4)
pattern("age.how_old", "{s}今年多大？", "How old {s:?be}?", s=ASK)
pattern(
    "age.older",
    "{s}比{t}大{k:count}岁。",
    "{s:+be} {k} years older than {t:obj}.",
    s="person pron|name nonyou -plural",
    t="person name",
    k="num 2-9",
)
pattern(
    "age.younger",
    "{s}比{t}小{k:count}岁。",
    "{s:+be} {k} years younger than {t:obj}.",
    s="person pron|name nonyou -plural",
    t="person name",
    k="num 2-9",
)
pattern("family.have", "{s}有{r:n,k}。", "{s:+have} {r:n,k}.", s=KNOWN, r="noun sibling|offspring|acquaintance -served", k="num 2-5")
pattern("family.have_one", "{s}有{r:one}。", "{s:+have} {r:one}.", s=KNOWN, r="noun sibling|offspring")
pattern(
    "family.have_two_kinds",
    "{s}有{q:one}和{r:one}。",
    "{s:+have} {q:one} and {r:one}.",
    s=KNOWN,
    q="noun sibling",
    r="noun sibling",
    quota=0.5,
)
pattern(
    "family.children",
    "{s}有{j:n,k}和{r:n,m}。",
    "{s:+have} {j:n,k} and {r:n,m}.",
    s="person title|pron nonyou -plural",
    j="noun offspring",
    k="num 2-4",
    r="noun grandchild",
    m="num 2-5",
)
pattern(
    "family.how_many",
    "{s}有{r:howmany}？",
    "{r:howmany} {s:?do} have?",
    s="person you|third -plural -kin",
    r="noun sibling|offspring|acquaintance -served",
)
pattern("family.none", "{s}没有{r}。", "{s:+don't} have {r:any}.", s=KNOWN, r="noun sibling|offspring|acquaintance -served")
pattern("family.guests", "{s}今天有{k:count}位客人。", "{s:+have} {k} guests today.", s=S, k="num 2-12", quota=0.7)
pattern("job.patients", "{s}{t}看了{k:count}个病人。", "{s} saw {k} patients {t}.", s="person doctor", t="time past day", k="num 2-20")
pattern(
    "job.pupils",
    "{s}教{k:count}个学生{x}。",
    "{s:+teach} {k} students {x}.",
    s="person title|adult nonyou",
    k="num 2-40",
    x="topic subject|language",
)
pattern("family.members", "{s}家里有{k:count}口人。", "There are {k} people in {s:de} family.", s=ONE, k="num 3-8")
pattern("family.live_with", "{s}和{t}住在一起。", "{s:+live} with {t:obj}.", s=ONE, t="person third")
pattern(
    "family.looks_like",
    "{s}长得像{s:pro}{r}。",
    "{s:+look} like {s:pro de} {r}.",
    s="person pron|name nonyou -plural",
    r="fixed 爸爸=father 妈妈=mother 爷爷=grandfather 奶奶=grandmother 哥哥=older_brother 姐姐=older_sister 叔叔=uncle 阿姨=aunt",
)
pattern("family.married", "{s}结婚{d}了。", "{s:+have} been married for {d}.", s="person pron|name|title nonyou", d="year")
pattern("family.miss", "{s}很想{t}。", "{s:+miss} {t:obj} very much.", s=ONE, t="person third")

# School
pattern("school.favorite", "{s}最喜欢的科目是{x}。", "{s:de} favorite subject is {x}.", s=ONE, x="topic subject")
pattern("school.good_at", "{s:de}{x}很好。", "{s:+be} very good at {x}.", s=ONE, x="topic subject|language")
pattern("school.thinks", "{s}觉得{x}很{a}。", "{s:+think} {x} is very {a}.", s=S, x="topic subject", a="adj subject")
pattern(
    "school.compare", "{x}比{y}{a}。", "{x} is {a:comp} than {y}.", x="topic subject|language", y="topic subject|language", a="adj subject"
)
pattern(
    "school.as",
    "{x}没有{y}那么{a}。",
    "{x} is not as {a} as {y}.",
    x="topic subject|language",
    y="topic subject|language",
    a="adj subject",
    held_out=True,
)
pattern("school.major", "{s}在大学学{x}。", "{s:+study} {x} at the university.", s=S, x="topic subject -taiji")
pattern("school.teaches", "{s}教{x}。", "{s:+teach} {x}.", s="person title|adult|pron nonyou", x="topic subject|language")
pattern("school.class_day", "{s}{t}有{x}课。", "{s:+have} {x:one} class {t}.", s=S, t="time weekday", x="topic subject|language")
pattern("school.class_time", "{x}课{c}开始。", "The {x} class starts at {c}.", x="topic subject|language", c="clock forenoon|afternoon")
pattern("school.exam", "{s}{t}有{x}考试。", "{s:+have} {x:one} exam {t}.", s=S, t="time deadline", x="topic subject|language")
pattern("school.passed", "{s}通过了{x}考试。", "{s} passed the {x} exam.", s=S, x="topic subject|language")
pattern("school.worried", "{s}担心{x}考试。", "{s:+be} worried about the {x} exam.", s=S, x="topic subject|language")
pattern(
    "school.grade",
    "{s}是{g}年级的学生。",
    "{s:+be} a {g} student.",
    s="person name|child|sib|pron nonyou -plural",
    g="fixed 一=first-grade 二=second-grade 三=third-grade 四=fourth-grade 五=fifth-grade 六=sixth-grade",
)
pattern(
    "school.students",
    "{b}有{k:count}个学生。",
    "There are {k} students in {b}.",
    k="num 12-60",
    b="fixed 我们班=our_class 他们班=their_class 你们班=your_class",
    quota=0.5,
)
pattern("school.help", "{s}帮助{t}学习{x}。", "{s:+help} {t:obj} study {x}.", s=ONE, t="person third", x="topic subject|language")
pattern("school.interest", "{s}对{x}感兴趣。", "{s:+be} interested in {x}.", s=S, x="topic subject|music|sport")
pattern("school.no_interest", "{s}对{x}不感兴趣。", "{s:+be} not interested in {x}.", s=S, x="topic subject|music|sport", held_out=True)
pattern("school.score", "{s}{x}考了{k:count}分。", "{s} got {k} points in {x}.", s=S, x="topic subject", k="num 60-100")
