package template

import "strings"

// mergeGlobals puts the Globals section under the properties of every resource it is for, as SAM
// does: objects merge, lists are global first and then the resource's own, everything else is the
// resource's own where it has one. What a section may hold is judged where the merged properties
// are read.
func (r *reader) mergeGlobals(section *node) {
	if section == nil {
		return
	}
	for _, f := range section.fields {
		var kind string
		switch f.name {
		case "Function":
			kind = functionType
		case "HttpApi":
			kind = apiType
		default:
			r.problem(f.line, "Globals: "+f.name, "is not supported by the local stack")
			continue
		}
		used := false
		for _, id := range r.order {
			if target := r.resources[id]; target.kind == kind {
				target.properties = merge(f.value, target.properties)
				used = true
			}
		}
		if !used {
			r.problem(f.line, "Globals: "+f.name, "the template has no resource of type %s", kind)
		}
	}
}

// merge returns local with what only global has added.
func merge(global, local *node) *node {
	if global.kind != local.kind || opaque(global) || opaque(local) {
		return local
	}
	switch local.kind {
	case sequence:
		items := append(append([]*node{}, global.items...), local.items...)
		return &node{line: local.line, kind: sequence, items: items}
	case mapping:
		result := &node{line: local.line, kind: mapping}
		for _, f := range global.fields {
			if own := local.get(f.name); own != nil {
				f.value = merge(f.value, own)
			}
			result.fields = append(result.fields, f)
		}
		for _, f := range local.fields {
			if global.get(f.name) == nil {
				result.fields = append(result.fields, f)
			}
		}
		return result
	}
	return local
}

// opaque says whether SAM treats n as one value: the call of an intrinsic function.
func opaque(n *node) bool {
	if n.kind != mapping || len(n.fields) != 1 {
		return false
	}
	name := n.fields[0].name
	return name == "Ref" || name == "Condition" || strings.HasPrefix(name, "Fn::")
}
