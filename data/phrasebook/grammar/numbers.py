"""Numbers, prices, dates, clock times and durations in both languages.

Chinese numerals up to 99,999; English number words. Counting uses 两 for 2
(两本书), plain numbers use 二 (二十二), see `zh_count`.
"""

DIGITS = "零一二三四五六七八九"
ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]
WEEKDAYS = {
    "星期一": "Monday",
    "星期二": "Tuesday",
    "星期三": "Wednesday",
    "星期四": "Thursday",
    "星期五": "Friday",
    "星期六": "Saturday",
    "星期天": "Sunday",
}


def zh_number(n):
    """Cardinal number: 23 -> 二十三, 105 -> 一百零五, 2000 -> 两千."""
    if n < 10:
        return DIGITS[n]
    if n < 20:
        return "十" + (DIGITS[n % 10] if n % 10 else "")
    if n < 100:
        return DIGITS[n // 10] + "十" + (DIGITS[n % 10] if n % 10 else "")
    for unit, name in ((10000, "万"), (1000, "千"), (100, "百")):
        if n >= unit:
            head, rest = divmod(n, unit)
            # A number begins with 两百, 两千, 两万; inside it 百 takes 二: 三千二百.
            text = ("两" if head == 2 else zh_number(head)) + name
            if rest == 0:
                return text
            if rest < unit // 10:
                text += "零"
            # Inside a larger number ten is 一十: 三百一十五.
            tail = ("一" if 10 <= rest < 20 else "") + zh_number(rest)
            return text + tail.replace("两百", "二百")
    raise ValueError(n)


def zh_count(n):
    """Number before a measure word: 2 -> 两."""
    return "两" if n == 2 else zh_number(n)


def parse_zh_number(text):
    """Inverse of zh_number and zh_count (used by the tests)."""
    total = section = digit = 0
    for char in text:
        if char in DIGITS or char == "两":
            digit = 2 if char == "两" else DIGITS.index(char)
        elif char == "万":
            total, section, digit = (total + section + digit) * 10000, 0, 0
        else:
            section += (digit or 1) * {"十": 10, "百": 100, "千": 1000}[char]
            digit = 0
    return total + section + digit


def en_number(n):
    """Number words: 23 -> twenty-three, 105 -> one hundred and five."""
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + (f"-{ONES[n % 10]}" if n % 10 else "")
    if n < 1000:
        rest = f" and {en_number(n % 100)}" if n % 100 else ""
        return f"{ONES[n // 100]} hundred{rest}"
    head, rest = divmod(n, 1000)
    joint = " and " if 0 < rest < 100 else " "
    return f"{en_number(head)} thousand{joint + en_number(rest) if rest else ''}"


def ordinal(n):
    """1 -> 1st, 22 -> 22nd."""
    if 10 <= n % 100 <= 20:
        return f"{n}th"
    return f"{n}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th') }"


def zh_price(jiao):
    """Price in units of 0.1 yuan: 35 -> 三块五, 1200 -> 一百二十块."""
    yuan, rest = divmod(jiao, 10)
    return f"{zh_count(yuan)}块{DIGITS[rest] if rest else ''}"


def en_price(jiao):
    """35 -> 3.50 yuan, 1200 -> 120 yuan. Prices are written in digits."""
    yuan, rest = divmod(jiao, 10)
    return f"{yuan}.{rest}0 yuan" if rest else f"{yuan} yuan"


DAY_PARTS = {
    "早上": (range(6, 9), "in the morning"),
    "上午": (range(9, 12), "in the morning"),
    "下午": (range(13, 18), "in the afternoon"),
    "晚上": (range(18, 23), "in the evening"),
}
MINUTES = (0, 5, 10, 15, 20, 25, 30, 40, 45, 50, 55)


def clock_zh(hour, minute):
    """(3, 30) -> 三点半, (3, 15) -> 三点一刻, (3, 45) -> 三点三刻, (2, 5) -> 两点五分."""
    text = zh_count(hour) + "点"
    special = {0: "", 15: "一刻", 30: "半", 45: "三刻"}
    if minute in special:
        return text + special[minute]
    return text + zh_number(minute) + "分"


def clock_en(hour, minute):
    """(3, 30) -> half past three, (3, 45) -> a quarter to four, (3, 0) -> three o'clock."""
    if minute == 0:
        return f"{ONES[hour]} o'clock"
    side, minutes, shown = ("past", minute, hour) if minute <= 30 else ("to", 60 - minute, hour % 12 + 1)
    name = {15: "a quarter", 30: "half"}.get(minutes) or en_number(minutes)
    return f"{name} {side} {ONES[shown]}"


def clock_times():
    """All (zh, en) clock times with the part of the day, in a fixed order."""
    for part, (hours, en_part) in DAY_PARTS.items():
        for hour in hours:
            shown = hour if hour <= 12 else hour - 12
            for minute in MINUTES:
                yield f"{part}{clock_zh(shown, minute)}", f"{clock_en(shown, minute)} {en_part}"


def dates():
    """All (zh, en) days of the year: 三月五日, March 5th."""
    for month, name in enumerate(MONTHS, 1):
        for day in range(1, (28, 30, 31)[1 if month in (4, 6, 9, 11) else 0 if month == 2 else 2] + 1):
            yield f"{zh_number(month)}月{zh_number(day)}日", f"{name} {ordinal(day)}"


def en_times(n):
    """1 -> once, 2 -> twice, 3 -> three times."""
    return {1: "once", 2: "twice"}.get(n) or f"{en_number(n)} times"


DURATION_UNITS = {
    "minute": ("分钟", "minute", range(5, 60, 5)),
    "hour": ("个小时", "hour", range(1, 9)),
    "day": ("天", "day", range(1, 11)),
    "week": ("个星期", "week", range(1, 9)),
    "month": ("个月", "month", range(1, 12)),
    "year": ("年", "year", range(1, 16)),
}


def durations(unit):
    """All (zh, en) durations of a unit: 三个小时, three hours; 半个小时, half an hour."""
    zh_unit, en_unit, amounts = DURATION_UNITS[unit]
    if unit == "hour":
        yield "半个小时", "half an hour"
        yield "一个半小时", "an hour and a half"
    for n in amounts:
        count = "an" if n == 1 and unit == "hour" else "a" if n == 1 else en_number(n)
        yield f"{zh_count(n)}{zh_unit}", f"{count} {en_unit}{'' if n == 1 else 's'}"
