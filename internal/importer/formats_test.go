package importer

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestOptionsKeepTheirQuotes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`a ${option.x} b`:          `a "${CARILLON_PARAM_X}" b`,
		`a "x ${option.x-y}" b`:    `a "x ${CARILLON_PARAM_X_Y}" b`,
		`a 'x @option.x@' b`:       `a 'x '"${CARILLON_PARAM_X}"'' b`,
		`a \"${option.x}`:          `a \""${CARILLON_PARAM_X}"`,
		`"it's ${option.x}"`:       `"it's ${CARILLON_PARAM_X}"`,
		`$RD_OPTION_X @option.y@'`: `$CARILLON_PARAM_X "${CARILLON_PARAM_Y}"'`,
	} {
		if got := withOptions(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestTimesOfSystemd(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"90": 90 * time.Second, "1h 30min": 90 * time.Minute, "2d": 48 * time.Hour, "1.5s": 1500 * time.Millisecond, "5 min": 5 * time.Minute, "1w2h": 170 * time.Hour,
		"infinity": -1, "1x": -1, "1..2": -1, "9999999y": -1,
	} {
		got, ok := timeSpan(text)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestWordsOfSystemd(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`a "b c" 'd e' f\sg`: `a|b c|d e|f g`,
		`a"b"c ""`:           `abc|`,
		`'a\'b' "\"x\""`:     `a'b|"x"`,
		`"\"x\"\n"`:          "\"x\"\n",
		`"a`:                 `?`,
	} {
		words, ok := unitWords(line)
		var texts []string
		for _, w := range words {
			texts = append(texts, w.text)
		}
		got := strings.Join(texts, "|")
		if !ok {
			got = "?"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	for text, want := range map[string]string{
		"a": "a", "a b": "'a b'", "it's": `'it'\''s'`, "$A": "$A", "x${A}y": `x"${A}"y`, "5$$": `5'$'`, "${": `'$''{'`, "": "''",
	} {
		if got := shellWord(word{text: text}); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// TestXMLIsBounded: no document types, and neither too deep nor cut off.
func TestXMLIsBounded(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`: "document type",
		`<a>&b;</a>`:                "entity",
		strings.Repeat("<a>", 1000): "deep in one another",
		`<a><b></a>`:                "element",
		`<a>`:                       "EOF",
	} {
		if _, err := xmlDocument(Source{Name: "f", Data: []byte(text)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v", text, err)
		}
	}
	doc, err := xmlDocument(Source{Name: "f", Data: []byte("<a>\n<b c='d'>e</b>\n<b>f</b></a>")})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range doc.get("a").all("b") {
		got = append(got, fmt.Sprintf("%d %s %s %s", b.line, b.get("c").text(), b.get(textOf).text(), b.text()))
	}
	if want := "2 d e |3   f"; strings.Join(got, "|") != want {
		t.Errorf("%q, want %q", strings.Join(got, "|"), want)
	}
}

func TestJSONHasLines(t *testing.T) {
	t.Parallel()
	docs, err := jsonDocuments(Source{Name: "f", Data: []byte("[\n{\"a\": \"\\ud83d\\ude00\\/\"},\n{\"a\": 12,\n\"b\": null}]\n7")})
	if err != nil || len(docs) != 2 {
		t.Fatal(docs, err)
	}
	items := docs[0].items()
	if got := items[0].get("a").text(); got != "😀/" {
		t.Errorf("%q", got)
	}
	if n, ok := items[1].get("a").number(); !ok || n != 12 || items[1].line != 3 || items[1].get("b").given() || docs[1].line != 5 {
		t.Errorf("%d, lines %d and %d", n, items[1].line, docs[1].line)
	}
	if _, err := jsonDocuments(Source{Data: []byte(strings.Repeat("[", 1000))}); err == nil || !strings.Contains(err.Error(), "deep in one another") {
		t.Errorf("%v", err)
	}
	if _, err := jsonDocuments(Source{Data: []byte(`{"a"`)}); err == nil {
		t.Error("a document that is cut off was taken")
	}
}

func TestDumps(t *testing.T) {
	t.Parallel()
	tables, err := dumpRows(Source{Name: "f", Data: []byte("/* a ' */ -- b '\nINSERT IGNORE INTO `db`.`T` (`a`, b) VALUES\n('x\\'y''z\\n', NULL), (_utf8'q', now(1, ')'));\nUPDATE t SET a = ';';\nCREATE TABLE u (a int(1), b text, PRIMARY KEY (a));insert into u values (1, 'b')")})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(tables); got != "map[t:[{{f 3} map[a:x'y'z\n]} {{f 3} map[a:q b:now(1, ')')]}] u:[{{f 5} map[a:1 b:b]}]]" {
		t.Errorf("%s", got)
	}
	for _, text := range []string{"insert into t (a) values (1", "insert into t values (1)", "insert into t (a values (1)"} {
		if _, err := dumpRows(Source{Data: []byte(text)}); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}
