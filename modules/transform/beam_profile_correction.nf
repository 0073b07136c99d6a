process BEAM_PROFILE_CORRECTION {
    tag "${meta.id}"
    label 'process_single'
    label 'per_slice'

    input:
    tuple val(meta), path(volume, stageAs: 'given/*'), path(manifest, stageAs: 'given/*')
    val flags

    output:
    tuple val(meta), path("published/beam_profile_correction/slice_${meta.id}_axial_corr.ome.zarr"), path("published/beam_profile_correction/slice_${meta.id}_axial_corr.ome.zarr.manifest.json"), emit: volume, optional: true
    tuple val(meta), path("${meta.id}_beam_profile_correction.npz"), emit: notes, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    beam_profile_correction.py ${flags} --volume ${volume} --slice ${meta.slice} --output published/beam_profile_correction/slice_${meta.id}_axial_corr.ome.zarr --notes ${meta.id}_beam_profile_correction.npz
    """

    stub:
    """
    stub.sh published/beam_profile_correction/slice_${meta.id}_axial_corr.ome.zarr/ published/beam_profile_correction/slice_${meta.id}_axial_corr.ome.zarr.manifest.json ${meta.id}_beam_profile_correction.npz beam_profile_correction.${meta.slice}.provenance.json
    """
}
