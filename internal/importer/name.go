package importer

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// longestName is how long a name from a source gets, with room for a number behind it.
const longestName = 63

// name returns a name that is like the wanted one, and not taken: the second of a name
// has -2 behind it, and so on.
func (b *book) name(wanted string) string {
	base := slug(wanted)
	for {
		b.names[base]++
		n := b.names[base]
		if n == 1 {
			return base
		}
		if numbered := base + "-" + strconv.Itoa(n); b.names[numbered] == 0 {
			b.names[numbered] = 1
			return numbered
		}
	}
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// slug makes a name of a text.
func slug(text string) string {
	s := strings.Trim(notInNames.ReplaceAllString(text, "-"), "-._")
	if len(s) > longestName {
		s = strings.TrimRight(s[:longestName], "-._")
	}
	if s == "" {
		return "job"
	}
	return s
}

var (
	assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
	plainWord  = regexp.MustCompile(`^[a-z][a-z0-9:_-]*$`)
	numeric    = regexp.MustCompile(`^[0-9.]+[smhd]?$`)
	shellLine  = regexp.MustCompile(`^\s*(?:/\S*/)?(?:ba|da|z|k)?sh\s+-l?c\s+['"](.*)['"]`)
	endOfPart  = regexp.MustCompile(`\s*(?:&&|\|\||[;|&{}()\n])\s*`)
)

// nameOfCommand makes a name of a command: of the first program in it that does the
// work, its script if it is an interpreter, and the word behind it that says what.
func nameOfCommand(line string) string {
	if m := shellLine.FindStringSubmatch(line); m != nil {
		line = m[1]
	}
	var first string
	for _, part := range endOfPart.Split(line, -1) {
		name, works := nameOfPart(strings.Fields(part))
		if first == "" {
			first = name
		}
		if works {
			return name
		}
	}
	return first
}

// keywords of shells stand before a command.
var keywords = []string{"if", "then", "else", "elif", "do", "while", "until", "!"}

// nameOfPart makes a name of one simple command. It is false when that only prepares.
func nameOfPart(words []string) (string, bool) {
	for len(words) > 0 && (assignment.MatchString(words[0]) || slices.Contains(keywords, words[0]) || strings.HasPrefix(words[0], "<") || strings.HasPrefix(words[0], ">")) {
		words = words[1:]
	}
	if len(words) == 0 {
		return "", false
	}
	program := bare(words[0])
	rest := words[1:]
	switch program {
	case "cd", "test", "[", "[[", "sleep", "set", "export", "umask", "ulimit", "exit", "true", "source", ".", "command", "fi", "done", "for", "wait":
		return program, false
	case "nice", "ionice", "chrt", "taskset", "sudo", "timeout", "flock", "exec", "nohup", "env", "chronic", "time", "setsid", "systemd-cat", "cronitor", "runuser", "su", "stdbuf", "eval":
		if inner, works := nameOfPart(behindWrapper(program, rest)); works {
			return inner, true
		}
		return program, true
	case "sh", "bash", "dash", "zsh", "ksh", "python", "python2", "python3", "perl", "php", "ruby", "node", "java", "Rscript", "lua", "make":
		for i, w := range rest {
			switch {
			case w == "-c" && i+1 < len(rest):
				return nameOfCommand(strings.Trim(strings.Join(rest[i+1:], " "), `"'`)), true
			case w == "-m" && i+1 < len(rest):
				return stem(rest[i+1]), true
			case w == "-jar" && i+1 < len(rest):
				return stem(rest[i+1]), true
			case !strings.HasPrefix(w, "-"):
				name := stem(w)
				if program == "make" {
					name = "make-" + name
				}
				if i+1 < len(rest) && plainWord.MatchString(rest[i+1]) {
					name += "-" + rest[i+1]
				}
				return name, true
			}
		}
		return program, true
	case "run-parts":
		for _, w := range rest {
			if strings.HasPrefix(w, "/") {
				return path.Base(w), true
			}
		}
	}
	name := stem(words[0])
	if len(rest) > 0 && plainWord.MatchString(rest[0]) {
		name += "-" + rest[0]
	}
	return name, true
}

// behindWrapper returns the command that a program like nice or flock runs.
func behindWrapper(program string, words []string) []string {
	for len(words) > 0 {
		w := words[0]
		switch {
		case program == "flock" && w == "-c", program == "su" && w == "-c", program == "runuser" && w == "-c":
			return strings.Fields(strings.Trim(strings.Join(words[1:], " "), `"'`))
		case strings.HasPrefix(w, "-"):
			words = words[1:]
			takes := map[string]string{"sudo": "ugh", "nice": "n", "ionice": "cnp", "flock": "wE", "timeout": "ks", "runuser": "u", "env": "uC"}[program]
			if len(w) == 2 && strings.Contains(takes, w[1:]) && len(words) > 0 {
				words = words[1:] // the option's value
			}
			continue
		case program == "timeout" && numeric.MatchString(w), assignment.MatchString(w):
			words = words[1:]
			continue
		case program == "flock", program == "su", program == "cronitor", program == "taskset", program == "chrt":
			program, words = "", words[1:] // the file of the lock, the account
			continue
		}
		return words
	}
	return nil
}

// bare returns the name of a program without its directory and quotes.
func bare(word string) string { return path.Base(strings.Trim(word, `"'`)) }

// stem is bare without what tells the language of a script.
func stem(word string) string {
	name := bare(word)
	switch ext := path.Ext(name); ext {
	case ".sh", ".py", ".pl", ".php", ".rb", ".js", ".bash", ".jar", ".R", ".lua":
		return strings.TrimSuffix(name, ext)
	}
	return name
}
