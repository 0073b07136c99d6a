// Slices in common space -> pairs of them, one joint solution, one volume. A part of `reconstruct`.

include { allInOrder ; filesInOrder ; joined ; metasOf ; several ; transformsIn } from './inputs'
include { REGISTER_PAIRWISE } from '../modules/transform/register_pairwise'
include { REFINE_MANUAL_TRANSFORMS } from '../modules/transform/refine_manual_transforms'
include { MAKE_MANUAL_ALIGN_PACKAGE } from '../modules/serving/make_manual_align_package'
include { AUTO_EXCLUDE_SLICES } from '../modules/transform/auto_exclude_slices'
include { PLAN_STACK } from '../modules/transform/plan_stack'
include { STACK } from '../modules/transform/stack'
include { JOIN as JOIN_STACK } from '../modules/transform/join'

workflow STACK_SLICES {
    take:
    slices // [meta, store, manifest] of each slice in common space
    placed // table of the slices that have a place there, a value channel
    config // slice configuration, a value channel
    options // map of checked parameters

    main:
    // A pair that a person has laid is not registered; it may be refined.
    manual = transformsIn(options.manual_transforms_dir, options.input)
    pairs = allInOrder(slices).flatMap { all -> pairsOf(all) }
    cases = pairs.branch { row ->
        laid: manual[row[0].id]
        found: true
    }
    REGISTER_PAIRWISE(cases.found, options.flags.register_pairwise)
    REFINE_MANUAL_TRANSFORMS(cases.laid.map { row -> row + [manual[row[0].id]] }, options.flags.refine_manual_transforms)
    made = REGISTER_PAIRWISE.out.metrics.mix(REFINE_MANUAL_TRANSFORMS.out.metrics)
    // Value channels, also without a pair: one slice is a stack, too.
    metrics = filesInOrder(made)
    if (options.export_manual_align) {
        transforms = REGISTER_PAIRWISE.out.transforms.mix(REFINE_MANUAL_TRANSFORMS.out.transforms)
        neighbours = pairs.filter { row -> row[0].step == 1 }.join(transforms).join(made)
        MAKE_MANUAL_ALIGN_PACKAGE(neighbours, options.flags.make_manual_align_package)
    }
    if (options.auto_exclude_enabled) {
        AUTO_EXCLUDE_SLICES(metrics, config, options.flags.auto_exclude_slices)
        config = AUTO_EXCLUDE_SLICES.out.config
    }
    everything = allInOrder(slices).map { all -> [all.collect { one -> one[1] }, all.collect { one -> one[2] }] }
    PLAN_STACK(everything, metrics, manual.keySet().sort(), placed, config, options.flags.plan_stack)
    STACK(everything, PLAN_STACK.out.plan, PLAN_STACK.out.blocks.flatMap { list -> metasOf(list) }, options.flags.stack)
    JOIN_STACK(several(STACK.out.volume), options.flags.join)
    volume = joined(STACK.out.volume, JOIN_STACK.out.volume)
    plan = PLAN_STACK.out.plan
    tables = PLAN_STACK.out.tables

    emit:
    volume // [store, manifest]
    plan // where each slice lies in it
    config // slice configuration, with what was left out
    metrics // what registration of pairs found, a value channel
    tables // where slices lie, and which pairs were believed
}

// Of slices in order: each with the next and with the one after that, [meta, fixed, manifest, moving, manifest].
def pairsOf(all) {
    return (1..2).collectMany { step ->
        (0..<Math.max(0, all.size() - step)).collect { n ->
            def (fixed, moving) = [all[n], all[n + step]]
            [[id: "${fixed[0].id}-${moving[0].id}".toString(), step: step], fixed[1], fixed[2], moving[1], moving[2]]
        }
    }
}
