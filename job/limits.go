package job

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Limits bound what a command may use, together with all processes that it
// starts. A minion whose host cannot hold it to them rejects the task. Zero:
// no bound.
type Limits struct {
	// Memory is how much memory all processes may use together, as in 512Mi;
	// the kernel ends what needs more. Zero: no bound.
	Memory Size `json:"memory,omitempty"`
	// Pids is how many processes and threads there may be at a time. Zero: no bound.
	Pids int `json:"pids,omitempty"`
	// CPU is how many processors' time may be used, as in "1.5" or 250m. Zero:
	// no bound.
	CPU Cores `json:"cpu,omitempty"`
}

// Bounds of limits. Less memory than MinLimitMemory would end nearly any
// program before it has begun.
const (
	MinLimitMemory = 1 << 20
	MaxLimitPids   = 1 << 22
	MinLimitCPU    = 10
	MaxLimitCPU    = 4096 * 1000
)

// check tells what is wrong with the limits.
func (l *Limits) check(p *problems) {
	if l.Memory != 0 && l.Memory < MinLimitMemory {
		p.add("spec.limits.memory", "%s is less than any program needs; give %s or more", l.Memory, Size(MinLimitMemory))
	}
	if l.Pids < 0 || l.Pids > MaxLimitPids {
		p.add("spec.limits.pids", "%d is out of range; 1 to %d are allowed", l.Pids, MaxLimitPids)
	}
	if l.CPU != 0 && (l.CPU < MinLimitCPU || l.CPU > MaxLimitCPU) {
		p.add("spec.limits.cpu", "%s is out of range; %s to %s are allowed", l.CPU, Cores(MinLimitCPU), Cores(MaxLimitCPU))
	}
}

// Size is a number of bytes that reads and writes as "512Mi".
type Size int64

// sizeUnits are the units of sizes, the largest first.
func sizeUnits() []struct {
	name  string
	bytes int64
} {
	return []struct {
		name  string
		bytes int64
	}{{"Ti", 1 << 40}, {"Gi", 1 << 30}, {"Mi", 1 << 20}, {"Ki", 1 << 10}, {"T", 1e12}, {"G", 1e9}, {"M", 1e6}, {"k", 1e3}}
}

// String returns the size in the largest binary unit that shows it exactly.
func (s Size) String() string {
	for _, u := range sizeUnits()[:4] {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText implements encoding.TextMarshaler.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It reads whole numbers,
// alone or with one of the units k, M, G, T, Ki, Mi, Gi and Ti.
func (s *Size) UnmarshalText(b []byte) error {
	digits, unit := string(b), int64(1)
	for _, u := range sizeUnits() {
		if rest, ok := strings.CutSuffix(digits, u.name); ok {
			digits, unit = rest, u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || int64(n) > math.MaxInt64/unit { // 63 bits
		return fmt.Errorf("%q is not a size; write a whole number of bytes, or one with a unit, as in 512Mi or 2G", b)
	}
	*s = Size(int64(n) * unit) // 63 bits
	return nil
}

// Cores is a number of processors, in thousandths, that reads and writes as
// "1.5".
type Cores int64

// String returns the number in decimals.
func (c Cores) String() string {
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%d.%03d", int64(c)/1000, int64(c)%1000), "0"), ".")
}

// MarshalText implements encoding.TextMarshaler.
func (c Cores) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It reads decimals with up
// to three places, and thousandths, as in 250m.
func (c *Cores) UnmarshalText(b []byte) error {
	text, unit := string(b), 1000.0
	if rest, ok := strings.CutSuffix(text, "m"); ok {
		text, unit = rest, 1
	}
	n, err := strconv.ParseFloat(text, 64)
	v := n * unit
	plain := strings.Trim(text, "0123456789.") == "" // no signs, exponents, NaN
	if err != nil || !plain || v > math.MaxInt32 || math.Abs(v-math.Round(v)) > 1e-6 {
		return fmt.Errorf("%q is not a number of processors; write decimals with up to three places, as in 0.5 or 2, or thousandths, as in 250m", b)
	}
	*c = Cores(math.Round(v))
	return nil
}
