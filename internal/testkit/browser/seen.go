package browser

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Seen is what a browser tells of pages beside what they show.
type Seen struct {
	// Errors are those of scripts, and what the browser refused or could not load.
	Errors []string
	// Hosts are those that requests went to, by scheme, name and port.
	Hosts []string
	// Bytes is how much came over the network, as it was sent.
	Bytes int
}

// Seen is what was told since the last time.
func (p *Page) Seen() Seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.seen
	p.seen = Seen{}
	return out
}

func (s *Seen) take(method string, params json.RawMessage) {
	var e struct {
		Type      string `json:"type"`
		Exception struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
		Args []struct {
			Value       any    `json:"value"`
			Description string `json:"description"`
		} `json:"args"`
		Entry struct {
			Level string `json:"level"`
			Text  string `json:"text"`
			URL   string `json:"url"`
		} `json:"entry"`
		Request struct {
			URL string `json:"url"`
		} `json:"request"`
		Encoded float64 `json:"encodedDataLength"`
	}
	if json.Unmarshal(params, &e) != nil {
		return
	}
	switch method {
	case "Runtime.consoleAPICalled":
		if e.Type == "error" || e.Type == "assert" {
			s.Errors = append(s.Errors, fmt.Sprintf("console: %v", e.Args))
		}
	case "Runtime.exceptionThrown":
		s.Errors = append(s.Errors, "exception: "+e.Exception.Text+" "+e.Exception.Exception.Description)
	case "Log.entryAdded":
		if e.Entry.Level == "error" {
			s.Errors = append(s.Errors, e.Entry.URL+": "+e.Entry.Text)
		}
	case "Network.requestWillBeSent":
		scheme, rest, ok := strings.Cut(e.Request.URL, "://")
		if !ok {
			return // data: and about: go nowhere
		}
		name, _, _ := strings.Cut(rest, "/")
		if host := scheme + "://" + name; !slices.Contains(s.Hosts, host) {
			s.Hosts = append(s.Hosts, host)
		}
	case "Network.loadingFinished":
		s.Bytes += int(e.Encoded)
	}
}
