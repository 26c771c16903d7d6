package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// editVerbs edit what is stored in the user's editor.
type editVerbs struct{ *call }

func (ev editVerbs) editCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "edit KIND/NAME", GroupID: groupJobs, Args: oneOrTwo,
		Short: "Change what is stored in your editor",
		Long: "Open what is stored as YAML in your editor ($VISUAL, then $EDITOR, then vi), and\n" +
			"apply it when the editor has ended. What the server refuses opens again, with all\n" +
			"that is wrong at the top; leaving it as it is gives up. When somebody else has\n" +
			"changed it meanwhile, nothing is applied, and it is said where your text is kept.\n" +
			"A name alone is a job's.",
		Example: "  carillon edit job/backup\n  EDITOR=nano carillon edit calendar holidays -n team",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && !strings.Contains(args[0], "/") {
				args = []string{kindWords(job.KindJob)[0], args[0]}
			}
			t, err := ev.thingNamed(args)
			if err != nil {
				return err
			}
			return ev.edit(cmd, t)
		},
	}
	reasonFlag(cmd, &ev.reason)
	return cmd
}

func oneOrTwo(cmd *cobra.Command, args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return usagef("%s: specify one thing, as in job/backup (got %d words)", cmd.CommandPath(), len(args))
	}
	return nil
}

// edit has the user change t until it can be applied, or is left as it is.
func (ev editVerbs) edit(cmd *cobra.Command, t thing) (err error) {
	before, err := manifestVerbs(ev).storedText(cmd.Context(), t)
	if err != nil {
		return err
	}
	if before == nil {
		return fmt.Errorf("%s: %w", t, job.ErrNotFound)
	}
	f, err := os.CreateTemp("", "carillon-edit-*.yaml")
	if err != nil {
		return fmt.Errorf("make a file to edit: %w", err)
	}
	path := f.Name()
	keep := false
	defer func() {
		if !keep {
			err = cmp.Or(err, os.Remove(path))
		}
	}()
	if err := f.Close(); err != nil {
		return fmt.Errorf("make a file to edit: %w", err)
	}
	shown := before
	var refused error
	for range mostEdits {
		after, err := ev.inEditor(cmd.Context(), path, t, shown, refused)
		if err != nil {
			keep = refused != nil
			return ev.kept(path, keep, err)
		}
		switch {
		case len(bytes.TrimSpace(after)) == 0:
			ev.note("%s: the text is empty, so nothing was changed", t)
			return nil
		case refused != nil && bytes.Equal(after, shown):
			keep = true
			return ev.kept(path, keep, refused)
		case bytes.Equal(after, before):
			ev.note("%s: nothing was changed", t)
			return nil
		}
		results, err := ev.apply(cmd.Context(), t, before, after)
		if err == nil {
			return manifestVerbs(ev).printResults(results, "")
		}
		if exitCode(err) != exitUsage {
			keep = true
			return ev.kept(path, keep, err)
		}
		shown, refused = after, err
	}
	keep = true
	return ev.kept(path, keep, refused)
}

// mostEdits is how often an editor is opened for one text: one that is a program, and not
// a person, makes the same mistake each time.
const mostEdits = 20

// kept adds where the user's text is.
func (ev editVerbs) kept(path string, keep bool, err error) error {
	if !keep {
		return err
	}
	return &exitError{exitCode(err), fmt.Errorf("%w\nnothing was changed; your text is kept in %s, and `carillon apply -f %s` applies it", told(err), path, path)}
}

// told is an error as it is told to people: with all its problems.
func told(err error) error {
	if lines := problemLines(err); len(lines) > 0 {
		return errors.New(strings.Join(lines, "\n"))
	}
	return err
}

// inEditor writes text below a head of comments, has the user edit it, and returns what
// stands below the head then.
func (ev editVerbs) inEditor(ctx context.Context, path string, t thing, text []byte, refused error) ([]byte, error) {
	if err := os.WriteFile(path, append(editHead(t, refused), text...), 0o600); err != nil {
		return nil, fmt.Errorf("write the file to edit: %w", err)
	}
	editor := cmp.Or(ev.env["VISUAL"], ev.env["EDITOR"], "vi")
	// The variable may hold arguments, as in "code --wait".
	run := exec.CommandContext(ctx, "/bin/sh", "-c", `exec `+editor+` "$1"`, "sh", path)
	run.Stdin, run.Stdout, run.Stderr, run.Env = ev.opts.Stdin, ev.opts.Stdout, ev.opts.Stderr, ev.opts.Env
	if err := run.Run(); err != nil {
		return nil, fmt.Errorf("the editor %q: %w; VISUAL or EDITOR names another", editor, err)
	}
	edited, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the edited file: %w", err)
	}
	return withoutHead(edited), nil
}

// headMark begins each line of the head, so that comments of the user stay.
const headMark = "#> "

// editHead is what stands above the text: what it is, and what was refused. The numbers
// of lines are those of the file with this head.
func editHead(t thing, refused error) []byte {
	lines := []string{
		t.String() + ": edit, save and leave; leave it as it is, or empty, to change nothing.",
	}
	if refused != nil {
		problems := problemLines(refused)
		if len(problems) == 0 {
			problems = strings.Split(refused.Error(), "\n")
		}
		lines = append(lines, "It was not applied:")
		height := len(lines) + len(problems)
		lines = append(lines, shiftedLines(refused, problems, height)...)
	}
	var b bytes.Buffer
	for _, l := range lines {
		b.WriteString(headMark + oneLine(l) + "\n")
	}
	return b.Bytes()
}

// problemsIn returns the problems that an error holds.
func problemsIn(err error) []job.Problem {
	if invalid, ok := errors.AsType[*job.InvalidError](err); ok {
		return invalid.Problems
	}
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e.Problems
	}
	return nil
}

// problemLines are the problems that an error holds, one a line.
func problemLines(err error) []string {
	var lines []string
	for _, p := range problemsIn(err) {
		lines = append(lines, p.String())
	}
	return lines
}

// shiftedLines are lines of problems with the numbers of their lines below a head of that
// height.
func shiftedLines(err error, lines []string, height int) []string {
	problems := problemsIn(err)
	if len(problems) == 0 {
		return lines
	}
	shifted := make([]string, len(problems))
	for i, p := range problems {
		p.File = "line"
		if p.Line > 0 {
			p.Line += height
		}
		shifted[i] = p.String()
	}
	return shifted
}

// withoutHead is the text below the head.
func withoutHead(text []byte) []byte {
	for bytes.HasPrefix(text, []byte(headMark)) {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return text
}

// apply stores the edited text, unless it is about something else now, or what was opened
// has been changed meanwhile.
func (ev editVerbs) apply(ctx context.Context, t thing, before, after []byte) ([]api.ApplyResult, error) {
	inText, err := manifest.Decode("", after)
	if err != nil {
		return nil, err
	}
	if len(inText) != 1 {
		return nil, usagef("there are %d objects in it; keep one", len(inText))
	}
	o := &inText[0]
	if is := thingOf(o.Kind, o.Metadata.Namespace, o.Metadata.Name); is != t {
		return nil, &job.InvalidError{Problems: []job.Problem{o.Problem("metadata.name", fmt.Sprintf("this is %s now; what is edited is %s, which keeps its kind and name", is, t))}}
	}
	// The server refuses what is wrong before it is looked for a change of others, so that
	// this look is the last thing before the text is stored.
	if _, err := ev.client.Jobs.Apply(ctx, "", after, true); err != nil {
		return nil, err
	}
	var generation int64 // a job's is compared once more by the server, in the change itself
	if t.kind == job.KindJob {
		one, err := ev.client.Jobs.Get(ctx, t.key)
		if err != nil {
			return nil, err
		}
		generation = one.Generation
	}
	now, err := manifestVerbs(ev).storedText(ctx, t)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(now, before) {
		return nil, &exitError{exitConflict, fmt.Errorf("%s has been changed by somebody else meanwhile: conflict", t)}
	}
	return ev.client.Jobs.Apply(client.IfGeneration(client.Because(ctx, ev.reason), generation), "", after, false)
}
