package cli

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"
)

// compareJSON orders two values: numbers, durations and instants by what they are, others
// as text.
func compareJSON(x, y any) int {
	xn, xok := x.(json.Number)
	yn, yok := y.(json.Number)
	if xok && yok {
		xf, xerr := xn.Float64()
		yf, yerr := yn.Float64()
		if xerr == nil && yerr == nil {
			return cmp.Compare(xf, yf)
		}
	}
	xs, ys := shownValue(x), shownValue(y)
	if xd, err := time.ParseDuration(xs); err == nil {
		if yd, err := time.ParseDuration(ys); err == nil {
			return cmp.Compare(xd, yd)
		}
	}
	if xt, err := time.Parse(time.RFC3339Nano, xs); err == nil {
		if yt, err := time.Parse(time.RFC3339Nano, ys); err == nil {
			return xt.Compare(yt)
		}
	}
	return strings.Compare(xs, ys)
}
