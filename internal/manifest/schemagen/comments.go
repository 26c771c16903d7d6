package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// comments are the doc comments of struct fields, under "Type.Field".
type comments map[string]string

// readComments reads the doc comments of the package in dir.
func readComments(dir string) (comments, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no Go files in %q: run from the root of the repository, or give -job", dir)
	}
	out := comments{}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("read comments: %w", err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				out.add(spec)
			}
			return true
		})
	}
	return out, nil
}

func (c comments) add(spec *ast.TypeSpec) {
	s, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, f := range s.Fields.List {
		for _, name := range f.Names {
			if f.Doc != nil {
				c[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
			}
		}
	}
}

// describe returns the description of a field, in the words of job files.
func (c comments) describe(typeName, goName, name string) string {
	text := c[typeName+"."+goName]
	if rest, ok := strings.CutPrefix(text, goName); ok {
		text = name + rest
	}
	short := func(d fmt.Stringer) string {
		text := d.String()
		for _, zero := range []string{"m0s", "h0m"} {
			text = strings.Replace(text, zero, zero[:1], 1)
		}
		return text
	}
	return strings.NewReplacer(
		"DefaultQueueAttempts", strconv.Itoa(job.DefaultQueueAttempts), "DefaultQueueItems", strconv.Itoa(job.DefaultQueueItems),
		"DefaultNamespace", job.DefaultNamespace, "DefaultTimeout", short(job.DefaultTimeout), "DefaultLostAfter", short(job.DefaultLostAfter),
		"DefaultBackoff", short(job.DefaultBackoff), "DefaultMaxBackoff", short(job.DefaultMaxBackoff),
		"DefaultMode", job.DefaultMode, "DefaultHoldOff", short(job.DefaultHoldOff), "DefaultGrace", short(job.DefaultGrace),
		"DialectCarillon", string(job.DialectCarillon), "OrderName", string(job.OrderName), "OrderLabel", "order: "+string(job.OrderLabel), "PromoteSuccess", string(job.PromoteSuccess),
		"LossTakeover", string(job.LossTakeover), "StartAsync", string(job.StartAsync),
		"OverlapSkip", string(job.OverlapSkip), "OverlapReplaceAfterGrace", string(job.OverlapReplaceAfterGrace), "OverlapQueueAll", string(job.OverlapQueueAll),
		"DefaultCatchUpEvery", short(job.DefaultCatchUpEvery), "StartAt", "startAt", "OnSuccess", string(job.OnSuccess), "MatchAll", string(job.MatchAll), "ExcludedSkip", string(job.ExcludedSkip), "DeadlineAlert", string(job.DeadlineAlert),
		"DefaultOverlapGrace", short(job.DefaultOverlapGrace), "DefaultOverlapLimit", strconv.Itoa(job.DefaultOverlapLimit), "MisfireLatest", string(job.MisfireLatest), "SpreadOne", string(job.SpreadOne),
		"Command, Script, Steps and Dispatch", "command, script, steps and dispatch", "Script, Command and Shell", "script, command and shell", "ParamString", string(job.ParamString), "IfSuccess", string(job.IfSuccess), "Nil:", "Not given:", "Zero:", "Not given:", "Empty:", "Not given:",
	).Replace(text)
}
