package job

import (
	"fmt"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ParamType says which values a parameter may have.
type ParamType string

// The types of parameters.
const (
	// ParamString is any text. The default.
	ParamString ParamType = "string"
	// ParamInt is a whole number, such as -3.
	ParamInt ParamType = "int"
	// ParamNumber is a decimal number, such as 0.25.
	ParamNumber ParamType = "number"
	// ParamBool is true or false.
	ParamBool ParamType = "bool"
	// ParamEnum is one of the parameter's Values.
	ParamEnum ParamType = "enum"
	// ParamPath is an absolute path without "..".
	ParamPath ParamType = "path"
)

// ParamTypes lists the types, the default first.
func ParamTypes() []ParamType {
	return []ParamType{ParamString, ParamInt, ParamNumber, ParamBool, ParamEnum, ParamPath}
}

// Param is a parameter that a script or a job takes.
type Param struct {
	// Name is what it is given by; letters, digits and '_'. Names that differ in
	// case only are the same, as the variable CARILLON_PARAM_NAME is in capitals.
	Name string `json:"name"`
	// Type says which values it may have. Empty: ParamString.
	Type ParamType `json:"type,omitempty"`
	// Description tells people what it is for.
	Description string `json:"description,omitempty"`
	// Default is its value when none is given. Empty: it has none, and is not set
	// then.
	Default string `json:"default,omitempty"`
	// Required: it has to be given.
	Required bool `json:"required,omitempty"`
	// Values are those that an enum may have.
	Values []string `json:"values,omitempty"`
	// Pattern is a regular expression (RE2) that the whole value has to match.
	Pattern string `json:"pattern,omitempty"`
	// Min is the least number that is allowed. Empty: no bound.
	Min string `json:"min,omitempty"`
	// Max is the greatest number that is allowed. Empty: no bound.
	Max string `json:"max,omitempty"`
	// MaxLength bounds the characters of a string or a path. Zero: no bound but
	// that of all parameters together.
	MaxLength int `json:"maxLength,omitempty"`
	// Sensitive: its value is a secret of who starts the run. The minion gets it;
	// records, listings, the page, output, logs and the audit have *** instead.
	Sensitive bool `json:"sensitive,omitempty"`
}

// Masked stands where a value is that is not told.
const Masked = "***"

// MaskedParams returns parameters with those added whose values are not told.
func MaskedParams(params, sensitive map[string]string) map[string]string {
	if len(sensitive) == 0 {
		return params
	}
	out := make(map[string]string, len(params)+len(sensitive))
	maps.Copy(out, params)
	for name := range sensitive {
		out[name] = Masked
	}
	return out
}

// SensitiveNames returns the names of sensitive parameters, in order; nil: there are none.
func SensitiveNames(sensitive map[string]string) []string {
	if len(sensitive) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(sensitive))
}

// GivenParams returns all parameters of a run with their values.
func GivenParams(params, sensitive map[string]string) map[string]string {
	if len(sensitive) == 0 {
		return params
	}
	out := make(map[string]string, len(params)+len(sensitive))
	maps.Copy(out, params)
	maps.Copy(out, sensitive)
	return out
}

// Limits of parameters.
const (
	MaxParams      = 100
	MaxParamBytes  = 16 << 10
	MaxParamValues = 256
)

// ParamVariable begins the names of the variables that hold parameters.
const ParamVariable = EnvPrefix + "PARAM_"

// ParamEnv returns the name of the variable that holds a parameter.
func ParamEnv(name string) string { return ParamVariable + strings.ToUpper(name) }

// EffectiveType returns Type, or its default.
func (d *Param) EffectiveType() ParamType {
	if d.Type == "" {
		return ParamString
	}
	return d.Type
}

// Accepts tells why the parameter may not have a value; nil: it may.
func (d *Param) Accepts(v string) error {
	if strings.ContainsRune(v, 0) {
		return fmt.Errorf("has a NUL character, which no variable can hold")
	}
	told := quoteShort(v)
	if d.Sensitive {
		told = "the value"
		if len(v) < MinMaskedBytes {
			return fmt.Errorf("is sensitive and has fewer than %d bytes: so short a value could not be masked in the output", MinMaskedBytes)
		}
	}
	switch d.EffectiveType() {
	case ParamInt:
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != v {
			return fmt.Errorf("%s is not a whole number; write one, as in 3, without a plus and zeros before it, which programs do not read alike", quoteShort(v))
		}
		return d.within(v, n)
	case ParamNumber:
		n, err := strconv.ParseFloat(v, 64)
		if err != nil || !plainNumber(v) {
			return fmt.Errorf("%s is not a number; write one, as in 3 or 0.25", quoteShort(v))
		}
		return d.withinNumber(v, n)
	case ParamBool:
		if v != "true" && v != "false" {
			return fmt.Errorf("%s is not a truth value; write true or false", quoteShort(v))
		}
		return nil
	case ParamEnum:
		if slices.Contains(d.Values, v) {
			return nil
		}
		hint := ""
		if near, ok := Nearest(v, d.Values); ok {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		return fmt.Errorf("%s is not allowed%s (allowed: %s)", quoteShort(v), hint, strings.Join(d.Values, ", "))
	case ParamPath:
		if !path.IsAbs(v) || slices.Contains(strings.Split(v, "/"), "..") {
			return fmt.Errorf("%s is not an absolute path without \"..\", as in /var/lib/app", told)
		}
	case ParamString:
	}
	if n := utf8.RuneCountInString(v); d.MaxLength > 0 && n > d.MaxLength {
		return fmt.Errorf("has %d characters; at most %d are allowed", n, d.MaxLength)
	}
	if d.Pattern != "" {
		if re, err := wholePattern(d.Pattern); err == nil && !re.MatchString(v) {
			return fmt.Errorf("%s does not match the pattern %s", told, d.Pattern)
		}
	}
	return nil
}

// within holds a whole number against the bounds, exactly where these are whole
// numbers too.
func (d *Param) within(v string, n int64) error {
	for _, bound := range []string{d.Min, d.Max} {
		if _, err := strconv.ParseInt(bound, 10, 64); bound != "" && err != nil {
			return d.withinNumber(v, float64(n))
		}
	}
	if low, err := strconv.ParseInt(d.Min, 10, 64); err == nil && n < low {
		return fmt.Errorf("%s is less than %s, which is the least allowed", v, d.Min)
	}
	if high, err := strconv.ParseInt(d.Max, 10, 64); err == nil && n > high {
		return fmt.Errorf("%s is more than %s, which is the most allowed", v, d.Max)
	}
	return nil
}

// withinNumber holds a number against the bounds.
func (d *Param) withinNumber(v string, n float64) error {
	if low, err := strconv.ParseFloat(d.Min, 64); err == nil && n < low {
		return fmt.Errorf("%s is less than %s, which is the least allowed", v, d.Min)
	}
	if high, err := strconv.ParseFloat(d.Max, 64); err == nil && n > high {
		return fmt.Errorf("%s is more than %s, which is the most allowed", v, d.Max)
	}
	return nil
}

// plainNumber admits digits, a sign, a point and an exponent: no hexadecimal
// forms, infinities and underscores, which programs do not read alike.
func plainNumber(v string) bool {
	return strings.IndexFunc(v, func(c rune) bool { return (c < '0' || c > '9') && !strings.ContainsRune("+-.eE", c) }) < 0
}

// wholePattern compiles a pattern that the whole of a value has to match.
func wholePattern(p string) (*regexp.Regexp, error) { return regexp.Compile(`^(?:` + p + `)$`) }

func quoteShort(v string) string {
	const longest = 60
	if len(v) > longest {
		v = strings.ToValidUTF8(v[:longest], "") + "..."
	}
	return strconv.Quote(v)
}

// checkParamList checks the declarations of parameters.
func checkParamList(p *problems, at string, list []Param) {
	if len(list) > MaxParams {
		p.add(at, "has %d entries; at most %d are allowed", len(list), MaxParams)
	}
	for i := range list {
		d := &list[i]
		here := at + "[" + strconv.Itoa(i) + "]"
		if !IsParamName(d.Name) {
			p.add(here+".name", "%q is not the name of a parameter; letters, digits and '_' are allowed, and the first is no digit", d.Name)
		} else if first := paramOf(list, d.Name); first != d {
			p.add(here+".name", "%q is there already, as %q; names that differ in case only are the same", d.Name, first.Name)
		}
		d.check(p, here)
	}
}

// check checks a declaration but for its name.
func (d *Param) check(p *problems, at string) {
	checkEnum(p, at+".type", d.Type, ParamTypes())
	before := len(*p)
	t := d.EffectiveType()
	effects(p, at+".", paramRows(), d, reflect.ValueOf(d).Elem())
	switch {
	case t == ParamEnum && len(d.Values) == 0:
		p.add(at+".values", "is missing; list the values that are allowed")
	case len(d.Values) > MaxParamValues:
		p.add(at+".values", "has %d entries; at most %d are allowed", len(d.Values), MaxParamValues)
	}
	number := t == ParamInt || t == ParamNumber
	bounds := map[string]float64{}
	for _, bound := range [][2]string{{"min", d.Min}, {"max", d.Max}} {
		name, text := bound[0], bound[1]
		if text == "" {
			continue
		}
		n, err := strconv.ParseFloat(text, 64)
		switch {
		case !number: // told above
		case err != nil || !plainNumber(text):
			p.add(at+"."+name, "%q is not a number; write one, as in 3 or 0.25", text)
		default:
			bounds[name] = n
		}
	}
	if len(bounds) == 2 && bounds["min"] > bounds["max"] {
		p.add(at+".max", "%s is less than min, %s", d.Max, d.Min)
	}
	if d.Pattern != "" {
		if _, err := wholePattern(d.Pattern); err != nil {
			p.add(at+".pattern", "%q is not a regular expression: %v", d.Pattern, err)
		}
	}
	if d.MaxLength < 0 {
		p.add(at+".maxLength", "%d is out of range; give 1 or more", d.MaxLength)
	}
	if d.Sensitive && d.MaxLength > 0 && d.MaxLength < MinMaskedBytes {
		p.add(at+".maxLength", "%d is less than the %d bytes that a sensitive value has at least; give more, or leave it out", d.MaxLength, MinMaskedBytes)
	}
	if d.Default == "" || len(*p) > before {
		return
	}
	if d.Sensitive {
		p.add(at+".default", "is read by whoever may read this; a sensitive parameter has no default: make it required, or leave the default out")
		return
	}
	if err := d.Accepts(d.Default); err != nil {
		p.add(at+".default", "%v", err)
	}
}

// paramOf returns the first declaration of a name; nil: there is none.
func paramOf(list []Param, name string) *Param {
	for i := range list {
		if strings.EqualFold(list[i].Name, name) {
			return &list[i]
		}
	}
	return nil
}

// sensitiveParam reports whether a parameter of a name is declared to be sensitive.
func sensitiveParam(list []Param, name string) bool {
	d := paramOf(list, name)
	return d != nil && d.Sensitive
}

// sensitiveParams tells of sensitive parameters in words, which all accounts of a host
// can see, and records and refusals tell.
func (p *problems) sensitiveParams(at string, words []string, params []Param) {
	for i, text := range words {
		for _, name := range references(text) {
			if sensitiveParam(params, name) {
				p.add(at+"["+strconv.Itoa(i)+"]", `{{%s}} is sensitive, and arguments can be seen by all on the host: read the variable %s in a script or in shell`, name, ParamEnv(name))
				break
			}
		}
	}
}

func paramNames(list []Param) []string {
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i].Name
	}
	return names
}

// CheckParams tells all that is wrong with given parameters in themselves,
// whoever takes them; paths begin with "params".
func CheckParams(given map[string]string) []Problem {
	var p problems
	if len(given) > MaxParams {
		p.add("params", "has %d entries; at most %d are allowed", len(given), MaxParams)
	}
	size := 0
	upper := map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(given)) {
		size += len(k) + len(given[k])
		switch other := upper[strings.ToUpper(k)]; {
		case !IsParamName(k):
			p.add("params."+k, "%q is not the name of a parameter; letters, digits and '_' are allowed, and the first is no digit", k)
		case other != "":
			p.add("params."+k, "differs from %q in case only", other)
		case strings.ContainsRune(given[k], 0):
			p.add("params."+k, "has a NUL character, which no variable can hold")
		}
		upper[strings.ToUpper(k)] = k
	}
	if size > MaxParamBytes {
		p.add("params", "have %d bytes; at most %d are allowed", size, MaxParamBytes)
	}
	return p
}

// valueOf returns the value that is given for a name, whatever its case.
func valueOf(given map[string]string, name string) (string, bool) {
	if v, ok := given[name]; ok {
		return v, true
	}
	for k, v := range given {
		if strings.EqualFold(k, name) {
			return v, true
		}
	}
	return "", false
}
