package importer

import (
	"path"
	"slices"
	"strings"
)

// unit is a unit of systemd, with its drop-ins.
type unit struct {
	// name is as in backup.timer; file is where it is from.
	name string
	at   place
	// settings are in their order, as sections do not matter for their order.
	settings []setting
}

// setting is one line of a unit.
type setting struct {
	section, key, value string
	at                  place
}

// units reads unit files, with the drop-ins of NAME.d behind those of the unit.
func (b *book) units(sources []Source) map[string]*unit {
	all := map[string]*unit{}
	var dropIns []Source
	for _, s := range sources {
		base, dir := path.Base(s.Name), path.Base(path.Dir(s.Name))
		if path.Ext(base) == ".conf" && strings.HasSuffix(dir, ".d") {
			dropIns = append(dropIns, s)
			continue
		}
		if s.Name == "stdin" {
			b.stdinUnits(all, s)
			continue
		}
		if base == "" || path.Ext(base) == "" {
			b.leftOut(place{s.Name, 1}, "is no unit: units are named NAME.timer and NAME.service")
			continue
		}
		if other, twice := all[base]; twice {
			b.leftOut(place{s.Name, 1}, "unit %s is read from %s already", base, other.at.file)
			continue
		}
		all[base] = &unit{name: base, at: place{s.Name, 1}, settings: b.settings(s, string(s.Data), 1)}
	}
	slices.SortStableFunc(dropIns, func(x, y Source) int { return strings.Compare(path.Base(x.Name), path.Base(y.Name)) })
	for _, s := range dropIns {
		owner := strings.TrimSuffix(path.Base(path.Dir(s.Name)), ".d")
		u, ok := all[owner]
		if !ok {
			b.notPossible(place{s.Name, 1}, "this is a drop-in of %s, which is not among the files", owner)
			continue
		}
		u.settings = append(u.settings, b.settings(s, string(s.Data), 1)...)
	}
	return all
}

// stdinUnits reads what `systemctl cat` prints: several units, each behind a comment with
// its path.
func (b *book) stdinUnits(all map[string]*unit, s Source) {
	lines := strings.Split(string(s.Data), "\n")
	var u *unit
	begin := 0
	flush := func(end int) {
		if u != nil {
			u.settings = append(u.settings, b.settings(s, strings.Join(lines[begin:end], "\n"), begin+1)...)
		} else if strings.TrimSpace(strings.Join(lines[:end], "")) != "" {
			b.leftOut(place{s.Name, 1}, "nothing says which unit this is: give files, or what `systemctl cat NAME.timer NAME.service` prints")
		}
	}
	for i, line := range lines {
		name, ok := strings.CutPrefix(line, "# /")
		if !ok {
			continue
		}
		name = "/" + strings.TrimSpace(name)
		base := path.Base(name)
		if dir := path.Base(path.Dir(name)); path.Ext(base) == ".conf" && strings.HasSuffix(dir, ".d") {
			base = strings.TrimSuffix(dir, ".d")
		}
		if path.Ext(base) == "" || strings.ContainsAny(base, " \t") {
			continue
		}
		if i > 0 && (u != nil || strings.TrimSpace(strings.Join(lines[:i], "")) != "") {
			flush(i)
		}
		begin = i
		if u = all[base]; u == nil {
			u = &unit{name: base, at: place{s.Name, i + 1}}
			all[base] = u
		}
	}
	flush(len(lines))
}

// settings reads the lines of a unit. A backslash at the end of a line goes on with the
// next one.
func (b *book) settings(s Source, text string, first int) []setting {
	var (
		out     []setting
		section string
		begun   string
		at      place
	)
	for i, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, ";") || trimmed == "" && begun == "" {
			continue
		}
		if begun == "" {
			at = place{s.Name, first + i}
		}
		if rest, more := strings.CutSuffix(trimmed, `\`); more {
			begun += rest + " "
			continue
		}
		trimmed, begun = strings.TrimSpace(begun+trimmed), ""
		if strings.HasPrefix(trimmed, "[") && strings.HasSuffix(trimmed, "]") {
			section = trimmed[1 : len(trimmed)-1]
			continue
		}
		key, value, ok := strings.Cut(trimmed, "=")
		if !ok || section == "" || strings.ContainsRune(trimmed, 0) {
			b.notPossible(at, "%q is no setting of a unit: they are NAME=VALUE, in a section", short(trimmed))
			continue
		}
		out = append(out, setting{section, strings.TrimSpace(key), strings.TrimSpace(value), at})
	}
	return out
}

// instance returns the name of a template's unit, as in foo@bar.service: foo and bar.
func (u *unit) instance() (prefix, instance string) {
	stem := strings.TrimSuffix(u.name, path.Ext(u.name))
	prefix, instance, _ = strings.Cut(stem, "@")
	return prefix, instance
}

// isTemplate reports whether a unit is a template, of which nobody knows the instances.
func (u *unit) isTemplate() bool {
	return strings.HasSuffix(strings.TrimSuffix(u.name, path.Ext(u.name)), "@")
}

// specifiers replaces %i and the like. It is false when one depends on the host.
func specifiers(text string, u *unit) (string, bool) {
	if !strings.Contains(text, "%") {
		return text, true
	}
	prefix, instance := u.instance()
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		if i++; i == len(text) {
			return text, false
		}
		switch text[i] {
		case '%':
			b.WriteByte('%')
		case 'i', 'I':
			b.WriteString(instance)
		case 'n':
			b.WriteString(u.name)
		case 'N':
			b.WriteString(strings.TrimSuffix(u.name, path.Ext(u.name)))
		case 'p', 'P':
			b.WriteString(prefix)
		default:
			return text, false
		}
	}
	return b.String(), true
}

// word is a word of a command line.
type word struct {
	text string
	// quoted: no part of it stands outside of quotes.
	quoted bool
}

// unitWords splits a line as systemd does: at blanks, but not in quotes, with escapes as
// in C. It is false for quotes that do not end.
func unitWords(line string) ([]word, bool) {
	var (
		out   []word
		b     strings.Builder
		quote byte
		begun bool
		bare  bool
	)
	end := func() {
		if begun {
			out = append(out, word{b.String(), !bare})
		}
		b.Reset()
		begun, bare = false, false
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\':
			if i++; i == len(line) {
				return nil, false
			}
			begun = true
			switch line[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 's':
				b.WriteByte(' ')
			case '\\', '"', '\'', ' ':
				b.WriteByte(line[i])
			default: // a systemd of today leaves what it does not know
				b.WriteByte('\\')
				b.WriteByte(line[i])
			}
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			b.WriteByte(c)
		case c == '"' || c == '\'':
			quote, begun = c, true
		case c == ' ' || c == '\t':
			end()
		default:
			begun, bare = true, true
			b.WriteByte(c)
		}
	}
	if quote != 0 {
		return nil, false
	}
	end()
	return out, true
}
