// What helps to find out why a volume is not right: each analysis by its own switch, all by --diagnostic_mode. A part of
// `reconstruct`; nothing of it goes into the volume.

include { allInOrder } from './inputs'
include { ANALYZE_ROTATION_DRIFT } from '../modules/serving/analyze_rotation_drift'
include { ANALYZE_ACQUISITION_ROTATION } from '../modules/serving/analyze_acquisition_rotation'
include { STITCH_MOTOR_ONLY } from '../modules/serving/stitch_motor_only'
include { STITCH_REFINED } from '../modules/serving/stitch_refined'
include { COMPARE_STITCHING } from '../modules/serving/compare_stitching'
include { STACK_MOTOR_ONLY } from '../modules/serving/stack_motor_only'

workflow DIAGNOSTICS {
    take:
    grids // [meta, store, manifest] of each mosaic grid
    slices // the same of each slice in common space
    space // common space, a value channel
    config // slice configuration, a value channel
    metrics // of all pairs, a value channel
    tables // of the stack, among them z_matches.csv
    subject // its name
    options // map of checked parameters

    main:
    pictures = channel.empty()
    if (options.diagnostic_mode || options.analyze_rotation_drift) {
        matches = tables.flatten().filter { file -> file.name == 'z_matches.csv' }
        ANALYZE_ROTATION_DRIFT(metrics, matches, options.flags.analyze_rotation_drift)
        pictures = pictures.mix(ANALYZE_ROTATION_DRIFT.out.pictures)
    }
    if (options.diagnostic_mode || options.analyze_acquisition_rotation) {
        ANALYZE_ACQUISITION_ROTATION(space, metrics, options.flags.analyze_acquisition_rotation)
        pictures = pictures.mix(ANALYZE_ACQUISITION_ROTATION.out.pictures)
    }
    if (options.diagnostic_mode || options.motor_only_stitch || options.compare_stitching) {
        STITCH_MOTOR_ONLY(grids, options.flags.stitch_motor_only)
    }
    if (options.diagnostic_mode || options.save_refinement_data || options.compare_stitching) {
        STITCH_REFINED(grids, options.flags.stitch_refined)
    }
    if (options.diagnostic_mode || options.compare_stitching) {
        COMPARE_STITCHING(STITCH_MOTOR_ONLY.out.slices.join(STITCH_REFINED.out.slices), options.flags.compare_stitching)
        pictures = pictures.mix(COMPARE_STITCHING.out.pictures)
    }
    if (options.diagnostic_mode || options.motor_only_stack) {
        everything = allInOrder(slices).map { all -> [all.collect { one -> one[1] }, all.collect { one -> one[2] }] }
        STACK_MOTOR_ONLY(subject, everything, config, options.flags.stack_motor_only)
        pictures = pictures.mix(STACK_MOTOR_ONLY.out.pictures)
    }

    emit:
    pictures
}
