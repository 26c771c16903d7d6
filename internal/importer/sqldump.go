package importer

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// row is a row of a table, by the names of its columns, and where it stands.
type row struct {
	at     place
	values map[string]string
}

// first returns the first of several columns that there is: releases name some in
// different ways.
func (r row) first(names ...string) string {
	for _, name := range names {
		if v, ok := r.values[name]; ok {
			return v
		}
	}
	return ""
}

// maxRows bounds how many rows of a dump are read.
const maxRows = 200_000

// dump is the text of a dump of SQL while it is read.
type dump struct {
	file string
	text string
	i    int
	// line is that of seen, up to where lines were counted.
	line, seen int
	// columns are those of tables, in their order.
	columns map[string][]string
}

var (
	createTable = regexp.MustCompile(`(?i)^create\s+table\s+(?:if\s+not\s+exists\s+)?`)
	insertInto  = regexp.MustCompile(`(?i)^(?:insert|replace)\s+(?:ignore\s+)?into\s+`)
	valuesWord  = regexp.MustCompile(`(?i)^values\s*`)
)

// rows reads the rows that a dump puts into tables.
func dumpRows(s Source) (map[string][]row, error) {
	d := &dump{file: s.Name, text: string(s.Data), line: 1, columns: map[string][]string{}}
	out := map[string][]row{}
	n := 0
	for d.i < len(d.text) {
		rest := d.text[d.i:]
		switch {
		case strings.IndexByte(" \t\r\n;", rest[0]) >= 0:
			d.i++
		case strings.HasPrefix(rest, "--"), rest[0] == '#':
			d.skipPast("\n")
		case strings.HasPrefix(rest, "/*"):
			d.skipPast("*/")
		case createTable.MatchString(head(rest)):
			d.i += len(createTable.FindString(head(rest)))
			d.create()
		case insertInto.MatchString(head(rest)):
			d.i += len(insertInto.FindString(head(rest)))
			table, rows, err := d.insert(maxRows - n)
			if err != nil {
				return out, fmt.Errorf("line %d: %w", d.here(), err)
			}
			n += len(rows)
			out[table] = append(out[table], rows...)
		default:
			d.statement()
		}
	}
	return out, nil
}

// head is the beginning of a text, as much as a word or three may have.
func head(s string) string { return s[:min(len(s), 100)] }

// here returns the line at which the reading is.
func (d *dump) here() int {
	d.line += strings.Count(d.text[d.seen:d.i], "\n")
	d.seen = d.i
	return d.line
}

func (d *dump) skipPast(end string) {
	if k := strings.Index(d.text[d.i:], end); k >= 0 {
		d.i += k + len(end)
		return
	}
	d.i = len(d.text)
}

// statement skips to behind the end of a statement.
func (d *dump) statement() {
	for d.i < len(d.text) {
		switch c := d.text[d.i]; c {
		case ';':
			d.i++
			return
		case '\'', '"', '`':
			d.quoted(c)
		default:
			d.i++
		}
	}
}

// blanks skips blanks.
func (d *dump) blanks() {
	for d.i < len(d.text) && strings.IndexByte(" \t\r\n", d.text[d.i]) >= 0 {
		d.i++
	}
}

// next reports whether a character is next, and takes it.
func (d *dump) next(c byte) bool {
	d.blanks()
	if d.i < len(d.text) && d.text[d.i] == c {
		d.i++
		return true
	}
	return false
}

// name reads a name, with or without quotes, and what is before a dot no more.
func (d *dump) name() string {
	for {
		d.blanks()
		var name string
		if d.i < len(d.text) && strings.IndexByte("`\"", d.text[d.i]) >= 0 {
			name = d.quoted(d.text[d.i])
		} else {
			from := d.i
			for d.i < len(d.text) && strings.IndexByte(" \t\r\n(),;.`\"'", d.text[d.i]) < 0 {
				d.i++
			}
			name = d.text[from:d.i]
		}
		if d.i < len(d.text) && d.text[d.i] == '.' {
			d.i++
			continue
		}
		return strings.ToLower(name)
	}
}

// quoted reads a text in quotes, with backslashes and doubled quotes in it.
func (d *dump) quoted(quote byte) string {
	var b bytes.Buffer
	for d.i++; d.i < len(d.text); d.i++ {
		c := d.text[d.i]
		switch {
		case c == '\\' && quote != '`' && d.i+1 < len(d.text):
			d.i++
			switch e := d.text[d.i]; e {
			case 'n':
				b.WriteByte('\n')
			case 'r':
				b.WriteByte('\r')
			case 't':
				b.WriteByte('\t')
			case '0':
			default:
				b.WriteByte(e)
			}
		case c == quote && d.i+1 < len(d.text) && d.text[d.i+1] == quote:
			b.WriteByte(quote)
			d.i++
		case c == quote:
			d.i++
			return b.String()
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// create reads the names of a table's columns.
func (d *dump) create() {
	table := d.name()
	if d.next('(') {
		depth := 1
		begin := true
		for d.i < len(d.text) && depth > 0 {
			d.blanks()
			if d.i == len(d.text) {
				break
			}
			c := d.text[d.i]
			switch {
			case begin && depth == 1 && (c == '`' || c == '"' || c >= 'a' && c <= 'z'):
				d.columns[table] = append(d.columns[table], d.name())
				begin = false
			case c == '\'' || c == '"' || c == '`':
				d.quoted(c)
			default:
				switch c {
				case '(':
					depth++
				case ')':
					depth--
				case ',':
					begin = depth == 1
				default:
					if begin { // KEY, PRIMARY
						begin = false
					}
				}
				d.i++
			}
		}
	}
	d.statement()
}

// insert reads the rows of a statement.
func (d *dump) insert(most int) (string, []row, error) {
	table := d.name()
	columns := d.columns[table]
	if d.next('(') {
		columns = nil
		for d.i < len(d.text) && !d.next(')') {
			columns = append(columns, d.name())
			if !d.next(',') && d.i < len(d.text) && d.text[d.i] != ')' {
				return "", nil, errors.New("a list of columns does not end")
			}
		}
	}
	d.blanks()
	if !valuesWord.MatchString(head(d.text[d.i:])) {
		d.statement()
		return table, nil, nil
	}
	d.i += len(valuesWord.FindString(head(d.text[d.i:])))
	var rows []row
	for d.next('(') {
		r := row{at: place{d.file, d.here()}, values: map[string]string{}}
		for k := 0; ; k++ {
			v, null, err := d.value()
			if err != nil {
				return "", nil, err
			}
			if k < len(columns) && !null {
				r.values[columns[k]] = v
			}
			if d.next(',') {
				continue
			}
			if d.next(')') {
				break
			}
			return "", nil, errors.New("a row does not end")
		}
		if len(columns) == 0 {
			return "", nil, fmt.Errorf("nothing tells the columns of %s: export with CREATE TABLE, or with the names of columns (mysqldump --complete-insert)", table)
		}
		if len(rows) == most {
			return "", nil, fmt.Errorf("there are more than %d rows; give those of xxl_job_info and xxl_job_group only", maxRows)
		}
		rows = append(rows, r)
		if !d.next(',') {
			break
		}
	}
	d.statement()
	return table, rows, nil
}

// value reads a value of a row.
func (d *dump) value() (text string, null bool, err error) {
	d.blanks()
	if d.i == len(d.text) {
		return "", false, errors.New("a row does not end")
	}
	if c := d.text[d.i]; c == '\'' || c == '"' {
		return d.quoted(c), false, nil
	}
	from, depth := d.i, 0
	for d.i < len(d.text) {
		c := d.text[d.i]
		if c == '\'' || c == '"' { // _utf8mb4'text', or an argument
			v := d.quoted(c)
			if depth == 0 {
				return v, false, nil
			}
			continue
		}
		if c == '(' {
			depth++
		}
		if depth == 0 && (c == ',' || c == ')') {
			break
		}
		if c == ')' {
			depth--
		}
		d.i++
	}
	text = strings.TrimSpace(d.text[from:d.i])
	return text, strings.EqualFold(text, "null"), nil
}
