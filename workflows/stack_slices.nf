// Slices in common space -> pairs of them, one joint solution, one volume. A part of `reconstruct`.

include { allInOrder ; filesInOrder ; joined ; metasOf ; several } from './inputs'
include { REGISTER_PAIRWISE } from '../modules/transform/register_pairwise'
include { AUTO_EXCLUDE_SLICES } from '../modules/transform/auto_exclude_slices'
include { PLAN_STACK } from '../modules/transform/plan_stack'
include { STACK } from '../modules/transform/stack'
include { JOIN as JOIN_STACK } from '../modules/transform/join'

workflow STACK_SLICES {
    take:
    slices // [meta, store, manifest] of each slice in common space
    config // slice configuration, a value channel
    options // map of checked parameters

    main:
    REGISTER_PAIRWISE(allInOrder(slices).flatMap { all -> pairsOf(all) }, options.flags.register_pairwise)
    // Value channels, also without a pair: one slice is a stack, too.
    metrics = filesInOrder(REGISTER_PAIRWISE.out.metrics)
    if (options.auto_exclude_enabled) {
        AUTO_EXCLUDE_SLICES(metrics, config, options.flags.auto_exclude_slices)
        config = AUTO_EXCLUDE_SLICES.out.config
    }
    everything = allInOrder(slices).map { all -> [all.collect { one -> one[1] }, all.collect { one -> one[2] }] }
    PLAN_STACK(everything, metrics, config, options.flags.plan_stack)
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
            [[id: "${fixed[0].id}-${moving[0].id}".toString()], fixed[1], fixed[2], moving[1], moving[2]]
        }
    }
}
