package etcdkv

import (
	"encoding/json"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// Hosts are minions, as a JSON value has them: a list of their names, or, when
// they are many, these names as one compressed text. A release that does not
// know the text cannot take it for no hosts: it finds no list, and reads nothing.
type Hosts []job.MinionID

// packHostsFrom is how many minions are not written as a list any more.
const packHostsFrom = 1000

// hostBreak stands between two names in the text; no name has one.
const hostBreak = "\n"

// MarshalJSON implements json.Marshaler.
func (h Hosts) MarshalJSON() ([]byte, error) {
	if len(h) < packHostsFrom {
		return json.Marshal([]job.MinionID(h))
	}
	var text strings.Builder
	for i, m := range h {
		if i > 0 {
			text.WriteString(hostBreak)
		}
		text.WriteString(string(m))
	}
	packed, err := compress([]byte(text.String()), nil)
	if err != nil {
		return nil, err
	}
	return json.Marshal(packed)
}

// UnmarshalJSON implements json.Unmarshaler.
func (h *Hosts) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || b[0] != '"' {
		return json.Unmarshal(b, (*[]job.MinionID)(h))
	}
	var packed []byte
	if err := json.Unmarshal(b, &packed); err != nil {
		return err
	}
	text, err := decompress(packed)
	if err != nil {
		return err
	}
	*h = nil
	for name := range strings.SplitSeq(string(text), hostBreak) {
		*h = append(*h, job.MinionID(name))
	}
	return nil
}
