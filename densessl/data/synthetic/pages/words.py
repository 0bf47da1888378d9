"""Text that looks like language: words of a language drawn by Zipf's law, sentences, names, numbers, dates.

A vocabulary is the language's commonest words and a few thousand that are put together from its stems or syllables and
its endings. Nobody is meant to read it: it has the lengths, letters, capitals and punctuation of the language.
"""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from densessl.data.synthetic.canvas import Dice

VOCABULARY = 2500  # words a language has beside its commonest ones


@dataclass(frozen=True)
class Language:
    """What words of a language are made of; each string is split at its blanks.

    common: its commonest words, the commonest first. stems: beginnings of words that exist. onsets, nuclei, codas: of
    syllables for words that do not. endings: what either ends in. nouns: endings with which a word has a capital.
    months: their names. labels: table, figure, chapter, page, source, note, total, date, number, name, contents.
    capital: whether every word of a heading may have a capital.
    """

    common: str
    stems: str
    onsets: str
    nuclei: str
    codas: str
    endings: str
    months: str
    labels: str
    names: str
    nouns: str = ""
    capital: bool = False
    comma: str = "."  # between whole and decimals


LANGUAGES = {
    "en": Language(
        "the of and to in a is that for it as was with be by on not he his are this at from which or have an they you "
        "were their one all we can had has more if will would been who no out so about when there its only than into "
        "other some these two may then do first any my now such like our over even most me after also many must before",
        "anal appli assess author balanc base bound calcul capac case cell chang charg clin coeffic collect compar "
        "compon condit consid contract control cost data decis defin depend design detail develop differ direct doc "
        "effect employ energ environ estim evalu exampl exper express factor field figur financ flow form function "
        "gener govern group grow health industr inform instrument interest invest issu journ labor law level limit "
        "local manag market mater measur member method model natur number object observ offic oper order organ "
        "paramet part pati perform period plan polic posit power present process product program project propert "
        "provid public qual rang rate region regul relat report research resourc respons result risk sampl scal scien "
        "section secur sequenc servic signif sourc stand stat struct stud suppli support surfac survey system techn "
        "temper term test theor transfer treat type valu variat volum water work",
        "b bl br c ch cl cr d dr f fl fr g gl gr h j k l m n p pl pr qu r s sc sh sl sp st str t th tr v w",
        "a e i o u a e i o ea ou ai ee",
        "b ck d g l ll m n nd ng nt p r rd rm rn rt s ss st t x",
        "s ed ing er tion ment al ity ly ive ance e ation ic able ous or y ful ness ers ions ies ary",
        "January February March April May June July August September October November December",
        "Table Figure Chapter page Source Note Total Date Number Name Contents",
        "Adams Baker Clark Davies Evans Foster Green Harris Hughes Jackson Keller Lee Martin Moore Nelson Parker Reed "
        "Scott Taylor Turner Walker Wright Young",
        capital=True,
    ),
    "pl": Language(
        "w i na z się do nie o jest że to przez od za dla są oraz jak po lub może który ich tym co a tego jego przy "
        "także ze jako pod być było tylko które ale tej albo już gdy więc ma bardzo został nad między roku osoby ust "
        "art pkt pracy został jednak będzie każdy mowa której czy tak bez u by we",
        "administracj analiz badan bezpieczeńst bieżąc budżet całkowit charakter cz część czas człon decyzj dan "
        "dochod dokument działaln efekt energi ekonom europejsk finans form funkcj gmin gospodar grup histor "
        "informacj instytucj inwestycj język jednost kategori kierow komisj koszt kraj kształc kwalifik kwot liczb "
        "ludn materiał miast miejsc minister możliw mieszkań nauk nazw należ obowiąz obszar ochron odpowiedz "
        "określ organ ośrod osob pacjent państw plan podstaw pomoc postępowan powiat poziom późn prac praw "
        "procedur produkt program projekt przedsiębior przepis przykład przyrod publicz region rejestr rodz rok "
        "rozporządzen rozwoj rynk samorząd skład służb społecz spraw stan stosunk system szkoł śród świad technicz "
        "treśc udział umow urząd ustaw usług warszaw wartośc warunk wniosk województ współprac wykaz wymag wynagrodz "
        "wynik zadan zakres zarząd zasad zawod zdrow zespół zmian źródł żywn",
        "b br c ch cz d dr dz g gr h j k kr l ł m n ń p pr prz r rz s sk sł st sz ś t tr trz w wsp wy z za zw ż",
        "a e i o u y ą ę ó ie ia a o e",
        "b c ć d k l ł m n ń p r s sk st t w z",
        "a y ego ej ych ość ości anie ania enia owy owa owe ów ami em u ie om nych ny ski skiego cja cji eń ek ach ć "
        "ą ę alny ować uje",
        "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia",
        "Tabela Rysunek Rozdział str. Źródło Uwaga Razem Data Numer Nazwa Spis",
        "Dąbrowska Grabowski Jankowski Kaczmarek Kamińska Kowalczyk Kowalski Kozłowska Król Krawczyk Lewandowski "
        "Majewska Mazur Nowak Nowakowska Pawłowski Piotrowska Szymański Wiśniewska Wojciechowski Wójcik Zając",
        comma=",",
    ),
    "de": Language(
        "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er hat "
        "dass sie nach wird bei einer um am sind noch wie einem über einen so zum war haben nur oder aber vor zur bis "
        "mehr durch man sein wurde sei hatte kann gegen vom können schon wenn habe seine ihre dann unter wir soll",
        "abteil änder anford angeb anwend arbeit aufgab ausbild bedeut bericht besonder bestimm betrieb bewert dars "
        "daten dienst durchfü einfl einricht entscheid entwick ergeb erkläru fähig förder forsch führ gebäud gemeind "
        "gesamt geschäft gesellsch gesetz gesundheit größ grund handl jahr kennzeichn körper kost kraft künst lehr "
        "leist lös maßnahm mess mitarbeit möglich nutz öffentlich ordn planung prüf rechn recht regel schutz staat "
        "stell steuer straß tätig teil überprüf umwelt unternehm untersuch verein verfahr vergleich verkehr "
        "verordn versicher vertrag verwalt voraussetz wasser weiter wirtschaft wissen zahl zusammen zuständ",
        "b br d dr f fl g gl gr h k kl kr l m n p pf r s sch schl schw sp st str t tr v w z zw",
        "a e i o u ä ö ü ei au ie eu e e",
        "ch ck ff g l ll m n nd ng nk r rm rn rt s ss st t tz ß",
        "ung en er e lich keit ungen heit isch ig es ern schaft t end ten ers bar",
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
        "Tabelle Abbildung Kapitel Seite Quelle Hinweis Summe Datum Nummer Name Inhalt",
        "Bauer Becker Fischer Hoffmann Huber Klein Koch König Krüger Lang Meyer Müller Neumann Richter Schäfer "
        "Schmidt Schneider Schröder Schulz Wagner Weber Wolf",
        nouns="ung ungen keit heit schaft er ers",
        comma=",",
    ),
    "fr": Language(
        "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont la avec son aux "
        "ou cette été comme ses mais être nous ont sa deux même ces on fait elle entre sans tout aussi leur bien où",
        "activ adminis améli appli assur autor capac chang collect compt condit conseil contr décis défin dévelop "
        "différ écol économ effic égal élév emplo énerg ens état étud exerc facteur famil financ fonction gest "
        "hist impôt indic industr intérêt ligne marché mesur modèl national niveau nombr objet œuvr opér ordre "
        "particip pays périod politiq princip problèm procéd produit propos public qualit recherch régim région "
        "réponse résult santé scien secteur sécur servic sociét struct systèm techniq territ travail valeur",
        "b bl br c ch cl cr d dr f fl fr g gr j l m n p pl pr qu r s t tr v",
        "a e i o u é è ê ai ou eau oi e",
        "c l ll m n nn nt r rd rs s ss t tt x",
        "e es er ation ment ité ique eur ée és ir ons aire if ive ance ent ions eux al",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "Tableau Figure Chapitre page Source Note Total Date Numéro Nom Sommaire",
        "Bernard Blanc Dubois Durand Faure Fournier Garnier Girard Lambert Lefèvre Leroy Martin Mercier Moreau Petit "
        "Richard Rousseau Roux Simon Thomas Vincent",
        comma=",",
    ),
    "ru": Language(
        "и в не на что с он как это по но они к у из за от так для же все или бы его до был если уже при ни только еще "
        "может их чем она быть во со нет под где надо этого которые также между после более лет том",
        "администрац анализ безопасн бюджет врем государств данн деятельн договор документ доход задач закон "
        "изменен информац исследован источник качеств количеств комисс материал министерств нормативн образован "
        "обществ орган основн отношен оценк период показател положен порядк правил предприят программ проект процесс "
        "работ развит район результат рынк систем служб содержан средств структур территор технич треб услов учрежд "
        "федеральн финанс характер хозяйств част экономич элемент",
        "б бр в г гр д др ж з к кр л м н п пр р с ск ст т тр ф х ц ч ш",
        "а е и о у ы я ю а о е и",
        "в г д к л м н р с ст т х",
        "а ы ов ами ого ый ая ение ения ость ости ать ся ет ых ом у ий ной ских ция ции",
        "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
        "Таблица Рисунок Глава стр. Источник Примечание Итого Дата Номер Название Содержание",
        "Волков Воробьева Голубев Иванов Козлова Кузнецов Лебедева Морозов Новикова Павлов Петров Попова Семенов "
        "Смирнова Соколов Соловьева Федоров",
        comma=",",
    ),
    "el": Language(
        "και το της να του η με για την που από τα των στην είναι στο θα οι ο τη σε τις ότι τους στη δεν μας ένα μια "
        "ως αλλά αυτό όπως έχει κατά μετά πολύ μπορεί όταν πριν υπό",
        "ανάπτυξ ανάλυσ αποτέλεσμ αρχ γεν διαδικασ διοίκησ δραστηριότητ εκπαίδευσ έρευν εργασ ευρωπαϊκ κοινων "
        "κόστ λειτουργ μελέτ μέτρ νόμ οικονομ οργανισμ παράγοντ περιοχ πληροφορ ποιότητ πολιτ πρόγραμμ "
        "προϊόν στοιχ σύστημ τεχνολογ υγε υπηρεσ φύσ χρήσ χρόν",
        "β γ γρ δ θ κ κρ λ μ ν π πρ ρ σ στ τ τρ φ χ",
        "α ε η ι ο υ ω ου ει αι ά έ ό",
        "λ ν ρ σ κ τ μ",
        "ος η ο α ων ες ου ας εις ία ίας ικό ικά ικών ση σεις μα τα",
        "Ιανουαρίου Φεβρουαρίου Μαρτίου Απριλίου Μαΐου Ιουνίου Ιουλίου Αυγούστου Σεπτεμβρίου Οκτωβρίου Νοεμβρίου "
        "Δεκεμβρίου",
        "Πίνακας Σχήμα Κεφάλαιο σελ. Πηγή Σημείωση Σύνολο Ημερομηνία Αριθμός Όνομα Περιεχόμενα",
        "Αντωνίου Βασιλείου Γεωργίου Δημητρίου Ιωάννου Κωνσταντίνου Νικολάου Παπαδόπουλος Πέτρου Χρήστου",
        comma=",",
    ),
}
LABELS = ("table", "figure", "chapter", "page", "source", "note", "total", "date", "number", "name", "contents")


@lru_cache
def vocabulary(code: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[float, ...]]:
    """Commonest words, other words, and the running sum of the weights of the latter (Zipf: 1 / (rank + 20))."""
    language = LANGUAGES[code]
    dice = Dice(sum(map(ord, code)), stream=77)
    stems, onsets, nuclei, codas, endings, nouns = (
        part.split()
        for part in (
            language.stems,
            language.onsets,
            language.nuclei,
            language.codas,
            language.endings,
            language.nouns,
        )
    )
    words: dict[str, None] = {}
    while len(words) < VOCABULARY:
        if dice.chance(0.65):
            stem = dice.pick(stems)
        else:
            stem = "".join(dice.pick(onsets) + dice.pick(nuclei) for _ in range(dice.pick((1, 1, 2, 2, 3))))
            stem += dice.pick(codas)
        ending = dice.pick(endings) if dice.chance(0.85) else ""
        word = stem + ending
        words[word.capitalize() if ending in nouns and ending else word] = None
    weights = tuple(accumulate(1 / (rank + 20) for rank in range(VOCABULARY)))
    return tuple(language.common.split()), tuple(words), weights


class Writer:
    """One author: a language, subjects that come up again and again, and habits."""

    def __init__(self, code: str, dice: Dice) -> None:
        self.code, self.dice, self.language = code, dice, LANGUAGES[code]
        self.common, self.words, self.weights = vocabulary(code)
        self.topic = [self._word() for _ in range(60)]
        self.label = dict(zip(LABELS, self.language.labels.split(), strict=True))
        self.pace = dice.whole(9, 20)  # words of a usual sentence
        self.cites = dice.pick(("none", "none", "number", "author"))

    def _word(self) -> str:
        return self.words[bisect(self.weights, self.dice() * self.weights[-1])]

    def content(self) -> str:
        """A word that carries meaning, half of them of the text's own subject."""
        return self.dice.pick(self.topic) if self.dice() < 0.5 else self._word()

    def word(self) -> str:
        draw = self.dice()
        if draw < 0.44:
            return self.common[min(int(len(self.common) * self.dice() ** 2.2), len(self.common) - 1)]
        return self.content()

    def sentence(self, words: int | None = None) -> list[str]:
        """The words of a sentence, with capital and stops."""
        count = words or max(4, int(self.pace * self.dice(0.5, 1.6)))
        tokens = [self.word() for _ in range(count)]
        for place in range(3, count - 3):
            draw = self.dice()
            if draw < 0.07:
                tokens[place] += ","
            elif draw < 0.09:
                tokens[place] = self.number()
            elif draw < 0.1:
                tokens[place] = f"({tokens[place]})"
            elif draw < 0.104:
                tokens[place] = f"„{tokens[place]}”" if self.code in ("pl", "de") else f"“{tokens[place]}”"
        tokens[0] = tokens[0][0].upper() + tokens[0][1:]
        if self.cites != "none" and self.dice() < 0.15:
            year = self.dice.whole(1975, 2024)
            tokens += [f"[{self.dice.whole(1, 60)}]"] if self.cites == "number" else [f"({self.name()},", f"{year})"]
        tokens[-1] += "." if self.dice() < 0.95 else self.dice.pick("? : ;")
        return tokens

    def sentences(self, count: int) -> list[str]:
        return [token for _ in range(count) for token in self.sentence()]

    def phrase(self, low: int, high: int, capital: bool = True) -> str:
        """A few words without a stop, as in headings and cells."""
        tokens = [self.content()]
        for _ in range(self.dice.whole(low, high) - 1):
            tokens.append(self.word() if self.dice() < 0.6 else self.content())
        if len(tokens) > 1 and tokens[-1] in self.common:
            tokens[-1] = self.content()
        text = " ".join(tokens)
        return text[0].upper() + text[1:] if capital else text

    def heading(self, low: int = 1, high: int = 6) -> str:
        text = self.phrase(low, high)
        if self.language.capital and self.dice() < 0.5:
            return " ".join(each if each in self.common else each.capitalize() for each in text.split())
        return text

    def name(self) -> str:
        return self.dice.pick(self.language.names)

    def person(self) -> str:
        initial = self.name()[0]
        return f"{initial}. {self.name()}" if self.dice() < 0.6 else f"{self.content().capitalize()} {self.name()}"

    def number(self, digits: int | None = None, decimals: int | None = None) -> str:
        """A number as the language writes it, with groups of three."""
        digits = self.dice.whole(1, 6) if digits is None else digits
        decimals = self.dice.pick((0, 0, 0, 1, 2)) if decimals is None else decimals
        whole = self.dice.whole(10 ** (digits - 1) if digits > 1 else 0, 10**digits - 1)
        groups = f"{whole:,}".replace(",", "," if self.language.comma == "." else "\u00a0")
        tail = f"{self.language.comma}{self.dice.whole(0, 10**decimals - 1):0{decimals}d}" if decimals else ""
        return groups + tail

    def date(self) -> str:
        day, month, year = self.dice.whole(1, 28), self.dice.whole(1, 12), self.dice.whole(1988, 2025)
        style = self.dice()
        if style < 0.4:
            return f"{day} {self.language.months.split()[month - 1]} {year}"
        return f"{day:02d}.{month:02d}.{year}" if style < 0.75 else f"{year}-{month:02d}-{day:02d}"

    def code_number(self) -> str:
        """A reference number of an office or a shop."""
        letters = "".join(self.dice.pick("A B C D E F K L M N P R S T W Z") for _ in range(self.dice.whole(1, 3)))
        first, second = self.dice.pick("/ - ."), self.dice.pick("/ -")
        return f"{letters}{first}{self.dice.whole(10, 99999)}{second}{self.dice.whole(1, 99)}"
