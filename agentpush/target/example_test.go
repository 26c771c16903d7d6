package target_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/agentpush/target"
)

func Example() {
	e := target.MustParse(`os == "linux" and web* and not @canary`)
	m, err := e.Bind(target.Groups{"canary": target.MustParse("web[1-2]")})
	if err != nil {
		fmt.Println(err)
		return
	}
	linux := map[string]string{"os": "linux"}
	s := m.Select([]target.Host{{Name: "web1", Facts: linux}, {Name: "web3", Facts: linux}, {Name: "web4"}, {Name: "db1", Facts: linux}})
	fmt.Println(s.Names)
	for _, u := range s.Unknown {
		fmt.Printf("%s is not known of %d, such as %s\n", u.Key, u.Hosts, u.First)
	}
	// Output:
	// [web3]
	// os is not known of 1, such as web4
}

func ExampleParseNodeSet() {
	s, err := target.ParseNodeSet("web[001-120,130]!web[007,050-060]")
	fmt.Println(s.Len(), s, err)
	// Output: 109 web[001-006,008-049,061-120,130] <nil>
}

func ExampleSyntaxError() {
	_, err := target.Parse("web[3-1] and 10.1.2.3/8")
	var syntax *target.SyntaxError
	if errors.As(err, &syntax) {
		fmt.Println(syntax.Caret())
	}
	// Output:
	// web[3-1] and 10.1.2.3/8
	//     ^ "3-1" goes down; write the smaller number first
	//              ^ "10.1.2.3/8" has an address inside of the network; write 10.0.0.0/8 for all of it, or the address alone
}

// TestGuide checks that every target in the guide can be read.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile("../../docs/targets.md")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, block := range strings.Split(string(guide), "```target\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		for line := range strings.Lines(block) {
			count++
			if _, err := target.Parse(strings.TrimSpace(line)); err != nil {
				t.Errorf("%s: %v", strings.TrimSpace(line), err)
			}
		}
	}
	if count < 18 {
		t.Errorf("only %d targets found in the guide", count)
	}
}
