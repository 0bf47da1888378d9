"""What ALTO 4.4 and PAGE 2019-07-15 allow of what we write, put down from their schemas by hand.

Of each element: its children as a regular expression over their names, each followed by a space; its attributes, each
with what its value must be, those it must have marked with "!". Ids are unique, and references lead to one.
"""

from __future__ import annotations

import re

from lxml import etree

ID, REF, REFS, TEXT = r"[A-Za-z_][\w.-]*", "ref", "refs", r"[\s\S]*"
WHOLE, NUMBER, SHARE, TRUTH = r"\d+", r"\d+(\.\d+)?", r"0(\.\d+)?|1(\.0+)?|\d(\.\d+)?e-\d+", "true|false"
PLACE = {"HPOS": NUMBER, "VPOS": NUMBER, "WIDTH": NUMBER, "HEIGHT": NUMBER}
ANGLE = "-90|90|180"
BLOCK = {"ID!": ID, **PLACE, "TAGREFS": REFS, "ROTATION": ANGLE}
STYLES = "(bold|italics)( (bold|italics))*"
LAYOUT = "((TextBlock|Illustration|GraphicalElement|ComposedBlock) )*"

ALTO = {
    "alto": (
        "(Description )?(Styles )?(Tags )?(ReadingOrder )?Layout ",
        {"SCHEMAVERSION": "4.4", "schemaLocation": TEXT},
    ),
    "Description": ("MeasurementUnit (sourceImageInformation )?(Processing )*", {}),
    "MeasurementUnit": ("", {}),
    "sourceImageInformation": ("(fileName )?", {}),
    "fileName": ("", {}),
    "Processing": ("(processingCategory )?(processingStepSettings )?(processingSoftware )?", {"ID!": ID}),
    "processingCategory": ("", {}),
    "processingStepSettings": ("", {}),
    "processingSoftware": ("(softwareName )?(softwareVersion )?", {}),
    "softwareName": ("", {}),
    "softwareVersion": ("", {}),
    "Styles": ("(TextStyle )*", {}),
    "TextStyle": ("", {"ID!": ID, "FONTSIZE": NUMBER}),
    "Tags": ("(LayoutTag )*", {}),
    "LayoutTag": ("", {"ID!": ID, "LABEL!": TEXT}),
    "ReadingOrder": ("(OrderedGroup )+", {}),
    "OrderedGroup": ("(ElementRef )+", {"ID!": ID}),
    "ElementRef": ("", {"ID!": ID, "REF!": REFS}),
    "Layout": ("(Page )+", {}),
    "Page": (
        "(PrintSpace )?",
        {
            **{"ID!": ID, "PHYSICAL_IMG_NR!": WHOLE, "WIDTH": NUMBER, "HEIGHT": NUMBER, "PROCESSINGREFS": REFS},
            **{"QUALITY": "OK|Missing|Damaged", "QUALITY_DETAIL": TEXT},
        },
    ),
    "PrintSpace": (LAYOUT, PLACE),
    "ComposedBlock": (LAYOUT, {**BLOCK, "TYPE": TEXT, "FILEID": TEXT}),
    "Illustration": ("", {**BLOCK, "TYPE": TEXT, "FILEID": TEXT}),
    "TextBlock": ("(TextLine )*", BLOCK),
    "TextLine": ("(String (SP )?)+(HYP )?", {"ID": ID, **PLACE}),
    "String": (
        "",
        {
            **{"CONTENT!": TEXT, **PLACE, "STYLEREFS": REFS, "STYLE": STYLES, "WC": SHARE},
            **{"SUBS_TYPE": "HypPart1|HypPart2|Abbreviation", "SUBS_CONTENT": TEXT},
        },
    ),
    "SP": ("", PLACE),
    "HYP": ("", {"CONTENT!": TEXT, **PLACE}),
}

REGIONS = "((TextRegion|ImageRegion|TableRegion|MathsRegion|UnknownRegion) )*"
UNKNOWN = {"id!": ID, "custom": TEXT}
REGION = {**UNKNOWN, "orientation": ANGLE}
TEXT_TYPES = "paragraph|heading|caption|header|footer|page-number|footnote|other"

PAGE = {
    "PcGts": ("Metadata Page ", {}),
    "Metadata": ("Creator Created LastChange (Comments )?(MetadataItem )*", {}),
    "Creator": ("", {}),
    "Created": ("", {}),
    "LastChange": ("", {}),
    "Comments": ("", {}),
    "MetadataItem": ("", {"type": "author|imageProperties|processingStep|other", "name": TEXT, "value!": TEXT}),
    "Page": (
        f"(ReadingOrder )?{REGIONS}",
        {
            **{"imageFilename!": TEXT, "imageWidth!": WHOLE, "imageHeight!": WHOLE},
            **{"imageXResolution": NUMBER, "imageYResolution": NUMBER, "imageResolutionUnit": "PPI|PPCM|other"},
        },
    ),
    "ReadingOrder": ("OrderedGroup ", {}),
    "OrderedGroup": ("(RegionRefIndexed )+", {"id!": ID}),
    "RegionRefIndexed": ("", {"index!": WHOLE, "regionRef!": REF}),
    "TextRegion": (f"Coords (Roles )?{REGIONS}(TextLine )*(TextEquiv )*(TextStyle )?", {**REGION, "type": TEXT_TYPES}),
    "ImageRegion": (f"Coords (Roles )?{REGIONS}", REGION),
    "MathsRegion": (f"Coords (Roles )?{REGIONS}", REGION),
    "UnknownRegion": (f"Coords (Roles )?{REGIONS}", UNKNOWN),
    "TableRegion": (
        f"Coords (Roles )?{REGIONS}",
        {**REGION, "rows": WHOLE, "columns": WHOLE, "lineSeparators": TRUTH},
    ),
    "Roles": ("(TableCellRole )?", {}),
    "TableCellRole": (
        "",
        {"rowIndex!": WHOLE, "columnIndex!": WHOLE, "rowSpan": WHOLE, "colSpan": WHOLE, "header": TRUTH},
    ),
    "Coords": ("", {"points!": r"(\d+,\d+ )+\d+,\d+", "conf": SHARE}),
    "TextLine": ("Coords (Word )*(TextEquiv )*", {"id!": ID}),
    "Word": ("Coords (TextEquiv )*(TextStyle )?", {"id!": ID}),
    "TextEquiv": ("Unicode ", {"conf": SHARE}),
    "Unicode": ("", {}),
    "TextStyle": ("", {"fontSize": NUMBER, "bold": TRUTH, "italic": TRUTH}),
}


def faults(root: etree._Element, grammar: dict, namespace: str) -> list[str]:
    """What is wrong with a document, a sentence each."""
    wrong, ids, references = [], [], []
    for element in root.iter(etree.Element):
        name = etree.QName(element).localname
        if etree.QName(element).namespace != namespace or name not in grammar:
            wrong.append(f"{element.tag} is unknown")
            continue
        children, attributes = grammar[name]
        inside = "".join(f"{etree.QName(child).localname} " for child in element)
        if not re.fullmatch(children, inside):
            wrong.append(f"{name} has {inside}")
        known = {key.rstrip("!"): value for key, value in attributes.items()}
        given = {etree.QName(key).localname: value for key, value in element.attrib.items()}
        missing = {key[:-1] for key in attributes if key.endswith("!")} - given.keys()
        wrong += [f"{name} lacks {key}" for key in missing]
        for key, value in given.items():
            if key.lower() == "id":
                ids.append(value)
            if key not in known:
                wrong.append(f"{name} has {key}")
            elif known[key] in (REF, REFS):
                references += value.split()
            elif not re.fullmatch(known[key], value):
                wrong.append(f"{name} {key}={value}")
    wrong += [f"{each} twice" for each in set(ids) if ids.count(each) > 1]
    return wrong + [f"{each} is nowhere" for each in set(references) - set(ids)]
