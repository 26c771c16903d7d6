package attack

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// onTerminal runs the command line with a terminal as its output, and returns
// what the terminal got.
func (n *node) onTerminal(t *testing.T, args ...string) string {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := program{name: "carillon", args: args, env: []string{"CARILLON_SERVER=" + n.url()}}
	cmd := p.command()
	cmd.Stdout, cmd.Stderr = terminal, terminal
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = terminal.Close() // the program has its own: the terminal ends with it
	got := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(master) // ends with EIO
		got <- string(b)
	}()
	_ = cmd.Wait() // its exit code is not what is tested
	return strings.ReplaceAll(<-got, "\r\n", "\n")
}

// unruly is what a host writes to rule the terminal of whoever reads it: a title, a
// question that the terminal answers, colours, text in another order, and bytes
// that are no text.
const unruly = "\x1b]0;owned\x07\x1b[6n\x1b[31mred\u009b0m txt.\u202eexe\xff"

// TestTerminalObeysNobody: what hosts and other users wrote rules no terminal, in
// no verb; with --raw it does, and a pipe gets each byte.
func TestTerminalObeysNobody(t *testing.T) {
	t.Parallel()
	n := startNode(t, newCluster(t), "n1")
	startMinion(t, n, "web1")
	exec := []string{"exec", "--target", "web1", "--", "printf", octal(unruly)}
	out := n.carillon(t, append([]string{"-o", "name"}, exec...)...)
	run := strings.TrimSpace(lastLine(out.must(t)))
	if got := n.carillon(t, "logs", run).must(t); got != unruly {
		t.Errorf("a pipe gets %q, want %q", got, unruly)
	}
	n.carillon(t, "pause", "all", "--reason", unruly[:len(unruly)-1]).must(t)
	for _, args := range [][]string{
		{"logs", run}, {"logs", run, "--fold"}, exec, {"describe", "run", run}, {"describe", "run", run, "-o", "yaml"}, {"runs", "-A", "-o", "json"},
		{"audit"}, {"audit", "-o", "json"}, {"get", "pauses"}, {"get", "pauses", "-o", "yaml"}, {"logs", unruly}, {"get", "job", unruly},
	} {
		got := n.onTerminal(t, args...)
		if args[0] == "exec" {
			got = strings.ReplaceAll(got, "\r\x1b[K", "") // the progress bar is our own
		}
		if got == "" || !utf8.ValidString(got) || strings.ContainsAny(got, "\x1b\x07\u009b\u202e\r") {
			t.Errorf("%.60q: the terminal gets %q", args, got)
		}
	}
	if got := n.onTerminal(t, "logs", run); !strings.Contains(got, `\x1b]0;owned\x07\x1b[6n\x1b[31mred\x9b0m txt.\u202eexe`+"\ufffd") {
		t.Errorf("the terminal shows %q", got)
	}
	if got := n.onTerminal(t, "logs", run, "--raw"); !strings.Contains(got, unruly) {
		t.Errorf("with --raw the terminal gets %q", got)
	}
}

func lastLine(s string) string {
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// octal writes text as printf takes it, without a character that an order may not
// have.
func octal(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, `\%03o`, s[i])
	}
	return b.String()
}
