//! What a pattern binds.

use syn::Pat;

/// Calls `bind` with every name. A name in capitals is a constant or a constructor.
pub(crate) fn names(pattern: &Pat, bind: &mut impl FnMut(String)) {
    match pattern {
        Pat::Ident(one) => {
            let name = one.ident.to_string();
            if !name.starts_with(char::is_uppercase) {
                bind(name);
            }
            if let Some((_, inner)) = &one.subpat {
                names(inner, bind);
            }
        }
        Pat::Or(all) => all.cases.iter().for_each(|one| names(one, bind)),
        Pat::Tuple(all) => all.elems.iter().for_each(|one| names(one, bind)),
        Pat::TupleStruct(all) => all.elems.iter().for_each(|one| names(one, bind)),
        Pat::Slice(all) => all.elems.iter().for_each(|one| names(one, bind)),
        Pat::Struct(all) => all.fields.iter().for_each(|one| names(&one.pat, bind)),
        Pat::Reference(one) => names(&one.pat, bind),
        Pat::Paren(one) => names(&one.pat, bind),
        Pat::Type(one) => names(&one.pat, bind),
        _ => {}
    }
}
