package audit

import "regexp"

// masked stands for a value that is not told.
const masked = `"***"`

// secretNames are names of what holds secrets, wherever they stand: as those of
// variables, of parameters and of fields.
var secretNames = regexp.MustCompile(`(?i)pass(word|wd|phrase|code)|(^|_)(pass|pwd|pw|auth|key|cookie|dsn)$|secret|token|credential|bearer|^sealed$|(private|api|access|signing|encryption)[._-]?key|sensitive`)

// isSecret reports whether what has this name may not be told.
func isSecret(name string) bool { return secretNames.MatchString(name) && !plainNames[name] }

// plainNames are fields of objects that are no secrets for all their names.
var plainNames = map[string]bool{"key": true, "sensitive": true}

// marked reports whether an object, such as a parameter, holds a secret: it says so, or
// its own name does.
func marked(object map[string]any) bool {
	name, _ := object["name"].(string)
	sensitive, _ := object["sensitive"].(bool)
	return sensitive || isSecret(name)
}

// isValue reports whether a field of a marked object holds its value.
func isValue(field string) bool {
	return field == "default" || field == "value" || field == "values"
}

// passwords are those of addresses, as in postgres://ann:pw@db, of arguments, as in
// --password=pw, --password pw and the two as words of a list, of JSON within a text, of
// a header, and Carillon's own tokens wherever they stand.
var passwords = []struct {
	in *regexp.Regexp
	is string
}{
	{regexp.MustCompile(`(://[^/@\s:"]*:)[^/@\s"]+@`), "${1}***@"},
	{regexp.MustCompile(`(?i)((?:pass|passwd|password|secret|token|api[_-]?key)=)[^\s"&\\]+`), "${1}***"},
	{regexp.MustCompile(`(?i)(--?(?:[a-z0-9]+[_-])*(?:pass|passwd|password|passphrase|secret|token|api[_-]?key)(?:\s+|",\s*"))[^\s"\\]+`), "${1}***"},
	{regexp.MustCompile(`(?i)("[a-z0-9_.-]*(?:pass|passwd|password|passphrase|secret|token|api[_-]?key)\\*"\s*:\s*\\*")[^"\\]+`), "${1}***"},
	{regexp.MustCompile(`(?i)(authorization:\s*(?:[a-z]+\s+)?)[^\s"'\\]+`), "${1}***"},
	{regexp.MustCompile(`\b(ct_|cl_|whsec_)[0-9A-Za-z+/=_-]{16,}`), "${1}***"},
}

// withoutPasswords masks what looks like a password amid a text.
func withoutPasswords(text string) string {
	for _, p := range passwords {
		text = p.in.ReplaceAllString(text, p.is)
	}
	return text
}
