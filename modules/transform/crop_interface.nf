process CROP_INTERFACE {
    tag "${meta.id}"
    label 'process_single'
    label 'per_slice'

    input:
    tuple val(meta), path(volume, stageAs: 'given/*'), path(manifest, stageAs: 'given/*')
    val flags

    output:
    tuple val(meta), path("published/crop_interface/slice_${meta.id}_crop_interface.ome.zarr"), path("published/crop_interface/slice_${meta.id}_crop_interface.ome.zarr.manifest.json"), emit: volume, optional: true
    tuple val(meta), path("${meta.id}_crop_interface.npz"), emit: notes, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    crop_interface.py ${flags} --volume ${volume} --slice ${meta.slice} --output published/crop_interface/slice_${meta.id}_crop_interface.ome.zarr --notes ${meta.id}_crop_interface.npz
    """

    stub:
    """
    stub.sh published/crop_interface/slice_${meta.id}_crop_interface.ome.zarr/ published/crop_interface/slice_${meta.id}_crop_interface.ome.zarr.manifest.json ${meta.id}_crop_interface.npz crop_interface.${meta.slice}.provenance.json
    """
}
