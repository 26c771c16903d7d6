// Package plan is the document by which another system, the upstream, says what is to be
// done: a set of typed tasks, in XML, JSON or YAML.
//
//	XML   <plan id="close-2027-01" upstream="erp">
//	        <task id="totals" type="report" priority="5">
//	          <parameter name="month">2027-01</parameter>
//	        </task>
//	        <task id="mail" type="mail"><after task="totals"/></task>
//	      </plan>
//	JSON  {"id": "close-2027-01", "upstream": "erp", "tasks": [
//	        {"id": "totals", "type": "report", "priority": 5, "parameters": {"month": "2027-01"}},
//	        {"id": "mail", "type": "mail", "after": ["totals"]}]}
//	YAML  the same members as JSON
//
// A type is the name of a queue. What XML may hold is in plan.xsd (XSD).
//
// # What holds
//
//	R1  The same plan in each of the formats is the same model, with the same digest. The order
//	    of tasks counts, that of members and attributes does not.
//	R2  Tasks are handed on one by one as they are read. What is kept of each is its id and
//	    what it waits for, so that names and cycles can be checked.
//	R3  What is wrong is told with its line and column, all at once, up to MaxProblems. A plan
//	    in which anything is wrong is not accepted, whatever was handed on by then.
//	R4  Nothing unknown is skipped: members, elements and attributes of other names, namespaces,
//	    members given twice, document types, processing instructions, aliases, anchors and tags
//	    are refused.
//	R5  Bytes, depth, tasks, parameters and dependencies are counted, and refused above the
//	    limits, before they are kept.
//
//	failure                        what happens
//	the text ends too early        a problem at its end; nothing is accepted
//	the text is not of the format  a problem where the reading stopped; what comes after is
//	                               not looked at
//	the reader fails               its error, and no problems: nothing is known of the plan
//
// # Not promised
//
// That a type is a queue, and takes the parameters: that is for who accepts the plan. YAML is
// held whole while it is read, and so may have MaxYAMLBytes only.
//
// It is pure: no I/O but the reader that it is given.
package plan
